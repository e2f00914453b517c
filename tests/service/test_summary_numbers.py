"""What a run came to: outcomes, bounds, errors left out, epochs, clusters, suites."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint, chat, status

from agentlab.analysis.statistics import wilson

OUTCOMES = ["scored", "model", "sandbox", "task", "verifier", "cancelled"]


def asked(body: dict[str, Any]) -> int:
    return int("".join(filter(str.isdigit, body["messages"][-1]["content"].split("+")[0].split("?")[0])))


def right_unless(wrong: set[int], broken: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    def behave(body: dict[str, Any], request: Any) -> Any:
        number = asked(body)
        if number in broken:
            return status(400, "no")(body, request)
        return chat("-1" if number in wrong else str(2 * number))

    return behave


async def test_errors_are_left_out_counted_and_bounded(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = right_unless({0, 1}, {2, 3})
    ran = await run("sums:n=10", model=endpoint.spec())
    line = ran.task("sums")
    assert list(line["outcomes"]) == OUTCOMES
    assert line["outcomes"] == dict.fromkeys(OUTCOMES, 0) | {"scored": 8, "model": 2}
    assert (line["n"], line["trials"], line["value"]) == (8, 10, 6 / 8)
    assert line["bounds"] == [0.6, 0.8] and line["planned"] == 10
    assert line["ci95"] == pytest.approx(list(wilson(6, 8)))
    assert line["stderr"] == pytest.approx(math.sqrt(0.75 * 0.25 / 7), rel=0.1)
    assert line["mde80"] == pytest.approx(2.80 * line["stderr"], rel=1e-2)
    assert line["tokens"] == {"input": 56, "output": 24}
    assert ran.end.summary.errors_total == 2
    assert {error["kind"] for error in ran.end.summary.errors} == {"model:bad_request"}


async def test_a_run_that_ended_early_says_of_how_much_it_is_a_part(
    run: Any, endpoint: Endpoint, tmp_path: Path
) -> None:
    """It printed `n 3` and bounds without a word of the trials that were never begun."""
    endpoint.behave = right_unless({0, 1})
    prices = tmp_path / "prices.yaml"
    prices.write_text("'*': {input: 1000000, output: 1000000}\n")  # ten dollars a call
    settings = (f"endpoint.prices={prices}",)
    ran = await run("sums:n=10", model=endpoint.spec(), settings=settings, max_cost=25, max_connections=1)
    line = ran.task("sums")
    assert (ran.end.status, line["planned"]) == ("cost", 10)
    assert line["n"] <= line["trials"] < 10, "one under way may be cancelled"
    right = line["value"] * line["n"]
    assert line["bounds"] == pytest.approx([right / 10, (right + 10 - line["n"]) / 10])
    whole = await run("sums:n=10", model=endpoint.spec(), settings=settings, resume=ran.end.run_dir)
    assert whole.task("sums")["bounds"] == [0.8, 0.8]


async def test_the_same_error_is_counted_as_one_however_many_there_are(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = right_unless(set(), set(range(4)))
    summary = (await run("sums:n=9", model=endpoint.spec())).end.summary
    (kind,) = summary.error_kinds
    assert (kind["n"], kind["sample"], kind["kind"]) == (4, "s0", "model:bad_request")


async def test_a_run_in_which_everything_failed_has_no_value(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = status(400, "no")
    line = (await run("sums:n=2", model=endpoint.spec())).task("sums")
    assert (line["n"], line["value"], line["stderr"], line["bounds"]) == (0, None, None, [0.0, 1.0])
    assert line["note"] == "no trial was scored"
    assert line["latency_ms"]["p50"] is None


async def test_epochs_add_pass_at_k_and_pass_hat_k(run: Any, endpoint: Endpoint) -> None:
    seen: dict[int, int] = {}

    def every_other_time(body: dict[str, Any], request: Any) -> Any:
        number = asked(body)
        seen[number] = seen.get(number, 0) + 1
        return chat(str(2 * number) if number == 0 or seen[number] % 2 else "-1")

    endpoint.behave = every_other_time
    line = (await run("sums:n=2", model=endpoint.spec(), epochs=2, max_connections=1)).task("sums")
    assert (line["n"], line["trials"], line["value"]) == (2, 4, 0.75)
    assert {metric["name"]: metric["value"] for metric in line["metrics"]} == {"pass@2": 1.0, "pass^2": 0.5}
    assert (await run("sums:n=2", model=endpoint.spec())).task("sums")["metrics"] == []


async def test_clusters_widen_the_error(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("0" if asked(body) < 4 else "1")
    line = (await run("clustered", model=endpoint.spec())).task("clustered")
    assert (line["n"], line["clusters"], line["value"], line["method"]) == (8, 2, 0.5, "t")
    assert line["stderr"] == pytest.approx(0.5), "two clusters, one right and one wrong: two observations, not eight"


async def test_a_suite_combines_its_tasks(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = right_unless({1, 2})
    ran = await run("pair", model=endpoint.spec())
    (combined,) = ran.end.summary.suites
    values = [ran.task("sums")["value"], ran.task("clustered")["value"]]
    assert (combined["suite"], combined["combine"], combined["missing"]) == ("pair", "mean", [])
    assert combined["value"] == pytest.approx(sum(values) / 2)
    assert combined["stderr"] is not None


async def test_labels_and_flags_are_counted(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("", finish="length")
    line = (await run("sums:n=3", model=endpoint.spec())).task("sums")
    assert line["flags"] == {"empty": 3, "truncated": 3}
    assert (line["value"], line["outcomes"]["scored"]) == (0.0, 3), "the score stands, and the flag says why"
