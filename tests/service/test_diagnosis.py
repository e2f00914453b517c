"""Labels that trials are given as they end, and what the summary makes of them."""

from __future__ import annotations

import re
from typing import Any

from endpoints import Endpoint, chat, status

from agentlab.service.cli.tables import print_summary


def knows_some(body: dict[str, Any], request: Any) -> Any:
    """Right about 0, cut off at 1, without a number at 2, not there for 3, wrong about the others."""
    found = re.search(r"\d+", body["messages"][-1]["content"])
    assert found is not None
    answers = {
        "0": chat("0"),
        "1": chat("First I take the", finish="length"),
        "2": chat("I would rather not."),
        "3": status(400, "not today")(body, request),
    }
    return answers.get(found[0], chat("7"))


async def test_each_failed_trial_has_one_cause_and_findings_stand_at_their_steps(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = knows_some
    ran = await run("sums:n=7", model=endpoint.spec())
    sample = {row.trial: row.sample for row in ran.reader.trials()}
    labels = [label for label in ran.reader.labels() if label.source == "detector"]
    causes = {sample[label.trial]: label.value for label in labels if label.name == "failure"}
    assert causes == {
        "s1": "budget.answer_length",
        "s2": "verification.wrong_form",
        "s3": "environment.model",
        "s4": "result.wrong",
        "s5": "result.wrong",
        "s6": "result.wrong",
    }
    (cut,) = [label for label in labels if label.value == "truncated_answer"]
    assert (sample[cut.trial], cut.seq, cut.author) == ("s1", 0, "truncated_answer/1")
    assert "First I take the" in cut.note
    assert len([label for label in labels if label.name == "failure"]) == 6, "one each"


async def test_the_summary_counts_causes_and_names_traces_to_open(run: Any, endpoint: Endpoint, capsys: Any) -> None:
    endpoint.behave = knows_some
    ran = await run("sums:n=7", model=endpoint.spec())
    line = ran.task("sums")
    assert line["labels"]["failure:result.wrong"] == 3
    failures = line["failures"]
    assert failures["n"] == 6 and failures["unknown"]["n"] == 0
    assert failures["unexplained"]["n"] == 3 and failures["unexplained"]["share"] == 0.5, "a verdict explains nothing"
    low, high = failures["unexplained"]["ci95"]
    assert 0.18 < low < 0.19 and 0.81 < high < 0.82, "Wilson's interval of 3 in 6"
    assert [cause["label"] for cause in failures["causes"]] == [
        "budget.answer_length",
        "environment.model",
        "verification.wrong_form",
        "result.wrong",
    ]
    telling = ran.end.summary.as_dict()["telling"]
    assert [entry["label"] for entry in telling] == [cause["label"] for cause in failures["causes"][:3]]
    assert telling[0]["sample"] == "s1" and telling[0]["step"] == 1
    print_summary(ran.end.summary.as_dict(), "finished")
    out = capsys.readouterr().out
    assert "6 not solved" in out and "result.wrong 3 (50%, 19% to 81%)" in out
    assert "no step shows why in 3 (50%, 19% to 81%)" in out
    assert f"traces show {ran.end.run_id}" in out or f"{ran.end.run_dir} {telling[0]['trial']}" in out
    assert out.count("not today") == 1, "an error is said once"


async def test_a_run_without_failures_says_nothing_of_them(run: Any, endpoint: Endpoint, capsys: Any) -> None:
    endpoint.behave = knows_some
    ran = await run("sums:n=1", model=endpoint.spec())
    assert ran.task("sums")["failures"] == {} and ran.end.summary.telling == ()
    assert not list(ran.reader.labels())
    print_summary(ran.end.summary.as_dict(), "finished")
    assert "not solved" not in capsys.readouterr().out


async def test_only_the_last_attempt_counts(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = status(400, "not today")
    first = await run("sums:n=1", model=endpoint.spec())
    assert first.task("sums")["failures"]["causes"][0]["label"] == "environment.model"
    endpoint.behave = knows_some
    again = await run("sums:n=1", model=endpoint.spec(), resume=first.end.run_dir)
    assert again.task("sums")["failures"] == {}
    assert [label.value for label in again.reader.labels()] == ["infrastructure", "environment.model"], "kept"


async def test_epochs_of_one_sample_are_not_counted_as_independent(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("7")
    ran = await run("sums:n=1", model=endpoint.spec(), epochs=6)
    left = ran.task("sums")["failures"]["unexplained"]
    assert left["n"] == 6
    assert left["ci95"][0] < 0.21, "one sample failed, six times: that is Wilson's interval of 1 in 1"
