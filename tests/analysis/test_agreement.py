"""Agreement coefficients give the figures of the papers that they come from, and their intervals cover."""

from __future__ import annotations

import math
import random

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.analysis.agreement import (
    Ratings,
    agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    raw_agreement,
)


def columns(*annotators: str) -> Ratings:
    """A table from one text an annotator; a dot where one judged nothing."""
    return [[None if label == "." else label for label in unit] for unit in zip(*annotators, strict=True)]


# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": A (binary), B (nominal), C (four observers, gaps).
BINARY = columns("0100000010", "1110010000")
NOMINAL = columns("aabbdcccedda", "babbbccceddd")
GAPS = columns("123321412...", "1233224125.3", ".3332342251.", "12332441251.")

# Fleiss 1971, table 1: 30 patients, six psychiatrists each; depression, personality disorder, schizophrenia, neurosis,
# other.
TABLE = (
    "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031"
    " 00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"
)
PATIENTS: Ratings = [
    [name for name, n in zip("dpsno", row, strict=True) for _ in range(int(n))] for row in TABLE.split()
]

# Cohen 1960, table 2: two judges, 200 units.
COHEN = {"11": 88, "12": 14, "13": 18, "21": 10, "22": 40, "23": 10, "31": 2, "32": 6, "33": 12}
JUDGED: Ratings = [list(pair) for pair, n in COHEN.items() for _ in range(n)]


def first_and_second(ratings: Ratings) -> tuple[list[str | None], list[str | None]]:
    return [row[0] for row in ratings], [row[1] for row in ratings]


@pytest.mark.parametrize(("ratings", "alpha"), [(BINARY, 0.095), (NOMINAL, 0.692), (GAPS, 0.743)])
def test_alpha_is_that_of_krippendorffs_own_examples(ratings: Ratings, alpha: float) -> None:
    assert krippendorff_alpha(ratings) == pytest.approx(alpha, abs=0.0005)


def test_fleiss_kappa_is_that_of_his_table() -> None:
    assert fleiss_kappa(PATIENTS) == pytest.approx(0.430, abs=0.0005)
    assert raw_agreement(PATIENTS) == pytest.approx(0.5556, abs=0.00005)
    measured = agreement(PATIENTS, resamples=200)
    assert {entry.category: entry.given for entry in measured.categories} == {
        "d": 26,
        "p": 26,
        "s": 30,
        "n": 55,
        "o": 43,
    }
    # The share of agreement on each category: kappa_j = (P_j - p_j) / (1 - p_j), and his kappas are the known figures.
    kappas = {entry.category: entry.specific for entry in measured.categories}
    shares = {entry.category: entry.given / 180 for entry in measured.categories}
    found = {name: (kappas[name] - shares[name]) / (1 - shares[name]) for name in kappas}
    assert found == pytest.approx({"d": 0.245, "p": 0.245, "s": 0.520, "n": 0.471, "o": 0.566}, abs=0.0006)


def test_cohen_kappa_is_that_of_his_example() -> None:
    assert cohen_kappa(*first_and_second(JUDGED)) == pytest.approx(0.492, abs=0.0005)
    assert raw_agreement(JUDGED) == pytest.approx(0.70)


tables = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(st.sampled_from("abc"), min_size=width, max_size=width), min_size=2, max_size=30)
)


@settings(max_examples=60, deadline=None)
@given(tables)
def test_kappas_equal_those_of_statsmodels(rows: list[list[str]]) -> None:
    # Imported here: it takes seconds, and each worker reads this file.
    from statsmodels.stats import inter_rater

    codes = np.array([["abc".index(label) for label in row] for row in rows])
    with np.errstate(all="ignore"):
        expected = float(inter_rater.fleiss_kappa(inter_rater.aggregate_raters(codes)[0]))
        cross = np.zeros((3, 3))
        for row in codes:
            cross[row[0], row[1]] += 1
        cohen = float(inter_rater.cohens_kappa(cross, return_results=False))
    assert fleiss_kappa(rows) == pytest.approx(expected, nan_ok=True, abs=1e-9)
    assert cohen_kappa(*first_and_second(rows)) == pytest.approx(cohen, nan_ok=True, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=3, max_size=3), min_size=2, max_size=30))
def test_alpha_equals_that_of_the_krippendorff_package(rows: list[list[str | None]]) -> None:
    units = [[label for label in row if label] for row in rows]
    paired = {label for unit in units if len(unit) > 1 for label in unit}
    if len(paired) < 2:  # nothing to disagree about: the package refuses, or divides by nought
        assert math.isnan(krippendorff_alpha(rows))
        return
    counts = [[unit.count(label) for label in "abc"] for unit in units]
    expected = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    assert krippendorff_alpha(rows) == pytest.approx(float(expected), abs=1e-9)


def test_what_is_not_defined_is_no_number() -> None:
    same = [["a", "a"]] * 9
    measured = agreement(same, resamples=100)
    assert measured.raw.value == 1.0 and measured.raw.low == pytest.approx(0.70, abs=0.01)
    assert all(math.isnan(found.value) for found in (measured.cohen, measured.fleiss, measured.alpha))
    perfect = agreement([["a", "a"], ["b", "b"]] * 5, resamples=100)
    assert perfect.alpha.value == 1.0 and math.isnan(perfect.alpha.low)
    nothing = agreement([["a", None], [None, "b"]])
    assert nothing.units == 0 and math.isnan(nothing.raw.value) and nothing.categories == ()
    assert math.isnan(agreement([]).alpha.value)
    with pytest.raises(ValueError, match=r"one length, these have \[1, 2\]"):
        agreement([["a", "b"], ["a"]])


@pytest.mark.parametrize(("units", "told"), [(2, False), (7, False), (8, True)])
def test_a_handful_of_units_has_figures_and_no_intervals(units: int, told: bool) -> None:
    rows = [["a", "b"], ["b", "b"], ["a", "a"], ["b", "a"]] * 2
    found = agreement(rows[:units], resamples=200)
    assert not math.isnan(found.alpha.value) and not math.isnan(found.cohen.value)
    assert [not math.isnan(one.low) for one in (found.cohen, found.fleiss, found.alpha)] == [told] * 3
    assert found.raw.low < found.raw.value  # Wilson's, which holds for any number


def test_gaps_count_where_they_can_and_only_there() -> None:
    measured = agreement(GAPS, resamples=500)
    assert (measured.annotators, measured.units, measured.fleiss_units) == (4, 11, 8)
    assert math.isnan(measured.cohen.value) and measured.alpha.low < 0.743 < measured.alpha.high
    assert measured.fleiss.value == fleiss_kappa([row for row in GAPS if None not in row])
    again = agreement(GAPS, resamples=500)
    assert measured.alpha == again.alpha


def drawn(dice: random.Random, units: int, annotators: int, careful: float, rates: dict[str, float]) -> Ratings:
    """Annotators who see the truth with probability `careful`, and guess by the rates otherwise."""
    names, weights = list(rates), list(rates.values())

    def label(true: str) -> str:
        return true if dice.random() < careful else dice.choices(names, weights)[0]

    return [[label(true) for _ in range(annotators)] for true in dice.choices(names, weights, k=units)]


RATES = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}


def covers(rounds: int, units: int, annotators: int, careful: float, rates: dict[str, float]) -> dict[str, float]:
    """How often the intervals hold the true coefficient, careful squared: chance is in the rates of all."""
    dice = random.Random(units * 10 + annotators)
    hits = dict.fromkeys(("raw", "cohen", "fleiss", "alpha"), 0)
    true = careful**2
    equal = true + (1 - true) * sum(rate**2 for rate in rates.values())
    for _ in range(rounds):
        measured = agreement(drawn(dice, units, annotators, careful, rates), resamples=599)
        for name, value in (("raw", equal), ("cohen", true), ("fleiss", true), ("alpha", true)):
            found = getattr(measured, name)
            hits[name] += found.low <= value <= found.high
    if annotators > 2:
        del hits["cohen"]
    return {name: count / rounds for name, count in hits.items()}


def test_intervals_cover_at_about_their_rate() -> None:
    """A quick look; the binomial error of 150 rounds is 2 percentage points."""
    for name, share in covers(150, 60, 2, 0.8, RATES).items():
        assert 0.89 <= share <= 1.0, name


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("units", "annotators", "careful"), [(40, 2, 0.8), (100, 2, 0.9), (100, 3, 0.6), (60, 4, 0.8), (200, 2, 0.5)]
)
def test_intervals_cover_at_the_nominal_rate(units: int, annotators: int, careful: float) -> None:
    found = covers(1000, units, annotators, careful, RATES)
    print(units, annotators, careful, found)
    for name, share in found.items():
        assert 0.93 <= share <= 0.985, name


def test_units_of_one_cluster_say_no_more_than_it_does() -> None:
    """A hundred traces, each of ten steps that say the same: ten times the units, and not a bit more is known."""
    rng = random.Random(1)
    traces: list[list[str | None]] = [[rng.choice("ab"), rng.choice("ab")] for _ in range(100)]
    alone = agreement(traces)
    steps = [row for row in traces for _ in range(10)]
    together = agreement(steps, clusters=[place // 10 for place in range(1000)])
    assert together.raw.value == pytest.approx(alone.raw.value) and together.units == 1000
    assert together.alpha.high - together.alpha.low == pytest.approx(alone.alpha.high - alone.alpha.low, rel=0.05)
    careless = agreement(steps).alpha
    assert careless.high - careless.low < 0.5 * (together.alpha.high - together.alpha.low)
