"""Metrics over a task's trials: epochs, clusters, groups, errors, and speed."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.analysis import statistics as stats
from agentlab.tasks.metrics import Metric, grouped, mean, pass_at, pass_hat, weighted
from agentlab.tasks.scores import Scores
from agentlab.tasks.types import TaskError

NAN = math.nan


def test_single_binary_trials_get_wilson_and_the_mde() -> None:
    value = mean()(Scores.of([1, 0, 1, 1]))
    assert (value.value, value.n, value.clusters, value.method) == (0.75, 4, 4, "wilson")
    assert value.ci95 == pytest.approx(stats.wilson(3, 4))
    assert value.mde80 == pytest.approx(2.80 * value.stderr, rel=1e-3)


def test_epochs_are_folded_into_samples() -> None:
    scores = Scores.of([1, 0, 1, 1, 0, 0], sample=[9, 9, 4, 4, 7, 7], epoch=[0, 1, 0, 1, 0, 1])
    value = mean()(scores)
    assert (value.value, value.n, value.method) == (0.5, 3, "t")
    assert value.stderr == pytest.approx(stats.mean_se([0.5, 1.0, 0.0]))


def test_a_sample_with_more_epochs_does_not_weigh_more() -> None:
    assert mean()(Scores.of([1, 1, 1, 0], sample=[0, 0, 0, 1])).value == 0.5


def test_clusters_widen_the_error_and_minus_one_is_a_cluster_of_its_own() -> None:
    values = [1, 1, 1, 1, 0, 0, 0, 0, 1, 0]
    clusters = [0, 0, 0, 0, 1, 1, 1, 1, -1, -1]
    value = mean()(Scores.of(values, cluster=clusters))
    assert value.clusters == 4 and value.method == "t"
    assert value.stderr == pytest.approx(stats.clustered_se(values, [0, 0, 0, 0, 1, 1, 1, 1, 2, 3]))
    assert value.stderr > 1.5 * mean()(Scores.of(values)).stderr


def test_errors_are_left_out_of_the_score_and_bounded() -> None:
    scores = Scores.of([1, 0, NAN, 1, NAN])
    assert mean()(scores).value == pytest.approx(2 / 3) and mean()(scores).n == 3
    assert mean().bounds(scores) == stats.bounds([1, 0, 1], 2) == (0.4, 0.8)


def test_bounds_of_pass_at_k_count_failed_trials_both_ways() -> None:
    scores = Scores.of([0, NAN, 0, 0], sample=[0, 0, 1, 1])
    value = pass_at(2)(scores)
    assert value.n == 1 and value.note == "1 of 2 samples left out: fewer than 2 scored trials"
    assert pass_at(2).bounds(scores) == (0.0, 0.5)


def test_nothing_scored_is_undefined_and_says_so() -> None:
    value = mean()(Scores.of([NAN, NAN]))
    assert math.isnan(value.value) and value.n == 0 and value.note == "no trial was scored"
    assert value.as_dict()["value"] is None and value.as_dict()["ci95"] == [None, None]
    assert mean("strict")(Scores.of([NAN])).n == 0
    assert grouped()(Scores.of([])).n == 0
    assert mean().bounds(Scores.of([NAN, NAN])) == (0.0, 1.0)


def test_pass_at_k_and_pass_hat_k_average_over_samples() -> None:
    values = [1, 1, 1, *[0] * 7, *[1] * 10]
    scores = Scores.of(values, sample=np.repeat([0, 1], 10), epoch=np.tile(np.arange(10), 2))
    assert pass_at(5)(scores).value == pytest.approx((0.9167 + 1) / 2, abs=1e-4)
    assert pass_hat(2)(scores).value == pytest.approx((0.0667 + 1) / 2, abs=1e-4)
    assert pass_at(5)(scores).name == "pass@5" and pass_hat(2)(scores).name == "pass^2"


def test_pass_at_more_than_the_epochs_is_undefined_and_not_clamped() -> None:
    value = pass_at(5)(Scores.of([1, 1, 1, 0], sample=[0, 0, 1, 1]))
    assert (
        math.isnan(value.value) and value.note == "undefined: it needs 5 scored trials of a sample, and the most are 2"
    )


def test_partial_credit_is_not_a_pass() -> None:
    assert pass_at(1)(Scores.of([0.99, 1.0])).value == 0.5


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=40))
def test_pass_at_one_of_single_trials_is_the_mean(values: list[float]) -> None:
    scores = Scores.of(values)
    assert pass_at(1)(scores).ci95 == mean()(scores).ci95


def test_grouped_is_the_plain_average_over_groups() -> None:
    scores = Scores.of([1, 1, 1, 0, 0, 1], group=[0, 0, 0, 0, 1, 1], group_names=("algebra", "logic"))
    value = grouped()(scores)
    assert value.value == pytest.approx((0.75 + 0.5) / 2) and value.name == "grouped_mean"
    assert {name: (part.value, part.n) for name, part in value.groups.items()} == {
        "algebra": (0.75, 4),
        "logic": (0.5, 2),
    }
    first, second = stats.mean_se([1, 1, 1, 0]), stats.mean_se([0, 1])
    assert value.stderr == pytest.approx(math.hypot(first, second) / 2)


def test_grouped_with_even_groups_is_the_stratified_error() -> None:
    rng = np.random.default_rng(0)
    values, group = rng.random(400), np.repeat(np.arange(4), 100)
    value = grouped()(Scores.of(values, group=group, group_names=tuple("abcd")))
    assert value.value == pytest.approx(values.mean())
    assert value.stderr == pytest.approx(mean()(Scores.of(values)).stderr, rel=0.02)


def test_groups_of_one_sample_take_the_error_between_groups() -> None:
    value = grouped()(Scores.of([1, 0, 1], group=[0, 1, 2], group_names=("a", "b", "c")))
    assert value.note == "3 of 3 groups hold one sample: the error is taken between groups"
    assert value.stderr == pytest.approx(stats.mean_se([1, 0, 1]))


def test_a_group_whose_trials_all_failed_is_named_in_the_note() -> None:
    value = grouped()(Scores.of([1, 0, 1, NAN], group=[0, 0, 0, 1], group_names=("a", "b")))
    assert value.note == "1 of 2 groups have no scored trial" and value.value == pytest.approx(2 / 3)


def test_groups_that_all_pass_are_not_certain() -> None:
    value = grouped()(Scores.of([1] * 8, group=[0] * 4 + [1] * 4, group_names=("a", "b")))
    assert value.value == 1 and value.ci95 == pytest.approx(stats.wilson(8, 8))


def test_grouped_takes_another_metric_and_bounds() -> None:
    scores = Scores.of([1, 0, 0, NAN], sample=[0, 0, 1, 1], group=[0, 0, 1, 1], group_names=("a", "b"))
    value = grouped(pass_at(2))(scores)
    assert value.value == 1.0 and math.isnan(value.groups["b"].value)
    assert grouped(pass_at(2)).bounds(scores) == (0.5, 1.0)


def test_a_named_score_and_one_that_is_not_there() -> None:
    scores = Scores.of([1, 0], extra={"loose": [1, 1], "partial": [1, NAN]})
    assert mean("loose")(scores).value == 1.0 and mean("loose")(scores).name == "loose"
    with pytest.raises(TaskError, match=r"reads the score 'strict', which no scorer gives \(given: loose, partial\)"):
        mean("strict")(scores)
    with pytest.raises(TaskError, match="'partial' is missing on 1 of 2 scored trials"):
        mean("partial")(scores)


def test_weighted_is_the_accuracy_over_instructions() -> None:
    # Three prompts with 1, 2 and 3 instructions, of which 1, 1 and 0 are followed: 2 of 6.
    scores = Scores.of([1, 0, 0], extra={"inst": [1, 0.5, 0], "instructions": [1, 2, 3]})
    value = weighted("inst", "instructions")(scores)
    assert value.value == pytest.approx(2 / 6) and value.n == 3
    residual = (np.array([1, 1, 0]) - value.value * np.array([1, 2, 3])) / 2
    assert value.stderr == pytest.approx(stats.mean_se(residual))


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=30))
def test_equal_weights_change_nothing(values: list[float]) -> None:
    scores = Scores.of(values, extra={"s": values, "w": [3.0] * len(values)})
    ours, plain = weighted("s", "w")(scores), mean()(scores)
    assert (ours.value, ours.stderr) == pytest.approx((plain.value, plain.stderr), abs=1e-9)


def test_bounds_of_a_weighted_metric_give_errors_the_mean_weight() -> None:
    scores = Scores.of([1, 0, NAN], extra={"inst": [1, 0.5, NAN], "instructions": [1, 3, NAN]})
    assert weighted("inst", "instructions").bounds(scores) == pytest.approx((2.5 / 6, 4.5 / 6))


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values but 3 of sample"):
        Scores.of([1, 0], sample=[0, 1, 2])


def test_one_hundred_thousand_trials_take_milliseconds() -> None:
    rng = np.random.default_rng(0)
    n = 100_000
    scores = Scores.of(
        rng.integers(0, 2, n),
        np.arange(n) // 4,
        cluster=np.arange(n) // 40,
        group=np.arange(n) // 4 % 57,
        group_names=tuple(f"g{i}" for i in range(57)),
    )
    for metric in (mean(), pass_at(2), grouped()):
        start = time.process_time()
        metric(scores)
        assert time.process_time() - start < 0.5, metric.name


def test_an_interval_of_scores_in_0_to_1_stays_there() -> None:
    twice = Scores.of([0, 0, 1, 1], sample=[0, 0, 1, 1], epoch=[1, 2, 1, 2])
    assert mean()(twice).ci95 == (0.0, 1.0)
    assert mean()(Scores.of([0, 0, 30, 30], sample=[0, 0, 1, 1], epoch=[1, 2, 1, 2])).ci95[0] < 0


def test_bounds_of_groups_count_the_samples_that_were_never_begun() -> None:
    """A group of four of which one was begun is as uncertain as its three others."""
    begun = Scores.of([1.0, 0.0], [0, 1], group=[0, 1], group_names=("art", "law"))
    whole = begun.whole({"art": 4, "law": 1, "war": 1}, 1)
    assert grouped().bounds(whole) == pytest.approx(((1 / 4 + 0 + 0) / 3, (1 + 0 + 1) / 3))
    assert mean().bounds(begun.whole({"": 4}, 2)) == pytest.approx((1 / 8, 7 / 8))
    assert begun.whole({"art": 1, "law": 1}, 1) is begun


def test_bounds_of_a_billion_epochs_take_milliseconds() -> None:
    """Stopping such a run ended in an allocation error."""
    begun = Scores.of([1.0, 0.0, 1.0], [0, 0, 1])
    start = time.process_time()
    low, high = mean().bounds(begun.whole({"": 1000}, 10**9))
    assert time.process_time() - start < 0.5
    assert low == pytest.approx(2e-12) and high == pytest.approx(1)


@pytest.mark.parametrize(
    "metric", [mean(), mean("strict"), pass_at(2), pass_hat(3), weighted("strict", "size"), grouped()]
)
def test_trials_that_stand_in_one_row_count_as_if_each_had_its_own(metric: Metric) -> None:
    values, samples, group = [1.0, 0.0, math.nan, 1.0], [0, 0, 1, 2], [0, 0, 1, 1]
    named = {"strict": [0.5, 0.25, math.nan, 1.0], "size": [2, 4, math.nan, 3]}
    names = ("art", "law")
    whole = Scores.of(values, samples, group=group, group_names=names, extra=named).whole({"art": 2, "law": 2}, 4)
    missing = [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    nothing = [math.nan] * len(missing)
    each = Scores.of(
        values + nothing,
        samples + missing,
        group=[*group, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0],
        group_names=names,
        extra={name: [*column, *nothing] for name, column in named.items()},
    )
    assert metric.bounds(whole) == pytest.approx(metric.bounds(each))


def test_an_mde_beyond_the_whole_scale_is_none() -> None:
    """It printed an MDE of 1.401 of scores between 0 and 1."""
    value = mean()(Scores.of([1, 0]))
    assert math.isnan(value.mde80) and "exceeds the whole scale" in value.note
    assert mean()(Scores.of([70, 0])).mde80 > 1, "other scales are wider"
    assert mean()(Scores.of([1])).note == "1 sample: no standard error"


def test_equal_clusters_are_not_certain() -> None:
    """Two clusters, each half right: no error is seen between them, and still little is known."""
    halves = mean()(Scores.of([1, 0, 1, 0], [0, 1, 2, 3], cluster=[7, 7, 8, 8]))
    assert halves.value == 0.5 and halves.stderr == 0 and math.isnan(halves.mde80)
    assert halves.ci95 == pytest.approx(stats.wilson(1, 2)) and halves.method == "wilson-clusters"
    alike = grouped()(Scores.of([0.7] * 6, range(6), group=[0, 0, 0, 1, 1, 1], group_names=("a", "b")))
    assert alike.value == pytest.approx(0.7) and math.isnan(alike.mde80)
    assert alike.ci95 == pytest.approx(stats.wilson(0.7 * 6, 6))
