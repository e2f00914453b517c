"""How trials flow: numbering, epochs, resuming, ceilings, judges, the cache, scripted models."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint, chat, serve, status

from agentlab.sandboxes import open_backend
from agentlab.service.check import check_task
from agentlab.service.harness import ConfigError, with_settings
from agentlab.service.launch import launch
from agentlab.service.prepare import prepare
from agentlab.service.resume import resume_command, stored_config
from agentlab.tasks.registry import resolve
from agentlab.traces.events import ErrorRaised, ModelCall, Scored

LITTLE_TASKS = Path(__file__).with_name("little_tasks.py")


def adds(body: dict[str, Any], request: Any) -> Any:
    """Knows its sums."""
    found = re.search(r"\d+", body["messages"][-1]["content"])
    assert found is not None
    return chat(str(2 * int(found[0])))


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    """A million dollars for a million tokens: ten a call of ten tokens."""
    path = tmp_path / "prices.yaml"
    path.write_text("'*': {input: 1000000, output: 1000000}\n")
    return path


async def test_trials_are_numbered_by_task_sample_and_epoch(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = adds
    ran = await run("sums:n=2", "clustered", model=endpoint.spec(), epochs=2, limit=2)
    numbered = [(row.trial, row.task.partition(":")[0], row.epoch) for row in ran.reader.trials()]
    assert numbered == [
        (1, "sums", 1), (2, "sums", 2), (3, "sums", 1), (4, "sums", 2),
        (5, "clustered", 1), (6, "clustered", 2), (7, "clustered", 1), (8, "clustered", 2),
    ]  # fmt: skip
    assert ran.reader.counts()["scored"] == 8
    first, second = [row.sample for row in ran.reader.trials()][:3:2]
    assert (first, second) == ("s0", "s1")


async def test_a_resume_carries_out_what_is_left_under_the_same_numbers(run: Any, endpoint: Endpoint) -> None:
    def behave(body: dict[str, Any], request: Any) -> Any:
        return status(400, "not now")(body, request) if "1 + 1" in str(body["messages"]) else adds(body, request)

    endpoint.behave = behave
    first = await run("sums:n=3", model=endpoint.spec())
    assert {row.sample: row.outcome for row in first.reader.trials()} == {"s0": "scored", "s1": "model", "s2": "scored"}
    endpoint.behave = adds
    asked = len(endpoint.bodies)
    again = await run("sums:n=3", model=endpoint.spec(), resume=first.end.run_dir, max_connections=3)
    assert len(endpoint.bodies) == asked + 1
    assert again.end.run_id == first.end.run_id
    assert {row.sample: (row.trial, row.attempt, row.outcome) for row in again.reader.trials()} == {
        "s0": (1, 1, "scored"),
        "s1": (2, 2, "scored"),
        "s2": (3, 1, "scored"),
    }
    assert [row.outcome for row in again.reader.attempts(2)] == ["model", "scored"], "every attempt is kept"
    assert again.task("sums")["value"] == 1.0
    assert again.task("sums")["outcomes"] == dict.fromkeys(
        ("scored", "model", "sandbox", "task", "verifier", "cancelled"), 0
    ) | {"scored": 3}


async def test_a_resume_of_a_finished_run_says_that_nothing_was_left(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = adds
    first = await run("sums:n=2", model=endpoint.spec())
    asked = len(endpoint.bodies)
    config = stored_config(json.loads((first.end.run_dir / "run.json").read_text()), {})
    said: list[str] = []
    end = await launch(
        prepare(config, open_backend("docker").offers), resume=first.end.run_dir, quiet=True, say=said.append
    )
    assert end.status == "finished" and len(endpoint.bodies) == asked
    assert said == ["nothing was left to do: every trial of the run is done"]


async def test_a_resume_that_would_measure_something_else_is_refused(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = adds
    first = await run("sums:n=2", model=endpoint.spec())
    with pytest.raises(ConfigError, match=r"scaffold direct: sampling\.temperature: 0\.0 -> 0\.9"):
        await run("sums:n=2", model=endpoint.spec(), settings=("sampling.temperature=0.9",), resume=first.end.run_dir)
    with pytest.raises(ConfigError, match="was not part of the run"):
        await run("sums:n=2", "clustered", model=endpoint.spec(), resume=first.end.run_dir)


async def test_a_ceiling_stops_the_run_and_can_be_raised(run: Any, endpoint: Endpoint, prices: Path) -> None:
    endpoint.behave = adds
    settings = (f"endpoint.prices={prices}",)
    first = await run("sums:n=6", model=endpoint.spec(), settings=settings, max_cost=25, max_connections=1)
    assert first.end.status == "cost"
    assert first.task("sums")["cost_usd"] == pytest.approx(30)
    assert first.task("sums")["outcomes"]["scored"] == 3
    assert set(first.reader.counts()) >= {"scored"}
    config = stored_config(first.document, {})
    assert resume_command(first.end.run_dir, config, "cost").endswith(" --max-cost 60")  # twice what was spent
    assert first.end.summary.telling == ()  # nothing is to be seen in trials that the ceiling cut off
    with pytest.raises(ConfigError, match=r"has cost 30\.0000 USD of --max-cost 25: go on with a higher"):
        await run("sums:n=6", model=endpoint.spec(), settings=settings, max_cost=25, resume=first.end.run_dir)
    again = await run("sums:n=6", model=endpoint.spec(), settings=settings, max_cost=1000, resume=first.end.run_dir)
    assert again.end.status == "finished"
    assert again.task("sums")["outcomes"]["scored"] == 6
    assert again.task("sums")["cost_usd"] == pytest.approx(60)
    assert len(endpoint.bodies) == 6, "what was answered is not asked again"


async def test_a_judge_without_a_name_is_refused(run: Any, endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="#NAME"):
        await run("judged", model=endpoint.spec(), settings=(f"judge={endpoint.spec().partition('#')[0]}",))


async def test_a_judge_is_asked_and_its_calls_are_told_apart(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = adds
    async with serve(lambda body, request: chat('{"grades": {"1": 0.5}}')) as judge:
        ran = await run("judged", model=endpoint.spec(), settings=(f"judge={judge.spec()}",))
        assert len(judge.bodies) == 2
        assert judge.bodies[0]["temperature"] == 0.0
    calls = ran.events("s0", ModelCall)
    assert [call.purpose for call in calls] == ["agent", "judge"]
    assert ran.rows["s0"].value == 0.5
    assert len(ran.rows["s0"].latencies_ms) == 1, "the judge's time is not the model's"
    assert ran.rows["s0"].usage.input_tokens == 14, "its tokens are"


async def test_a_judge_that_fails_is_a_verifier_error(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = adds
    async with serve(status(400, "the judge is out")) as judge:
        ran = await run("judged", model=endpoint.spec(), settings=(f"judge={judge.spec()}", "endpoint.max_retries=0"))
    row = ran.rows["s0"]
    assert (row.outcome, row.error_kind) == ("verifier", "bad_request")
    assert "the judge is out" in row.error_message
    assert len(ran.events("s0", ModelCall)) == 1, "the answer is kept"


async def test_no_judge_is_told_before_a_call_is_paid_for(run: Any, endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match="judged is graded by a judge model: name one, --set judge="):
        await run("judged", model=endpoint.spec())
    assert endpoint.bodies == []


async def test_money_that_runs_out_at_the_judge_cancels(run: Any, endpoint: Endpoint, prices: Path) -> None:
    """A verifier error would be final; what was cancelled is tried again by a resume."""
    endpoint.behave = adds
    async with serve(lambda body, request: chat('{"grades": {"1": 1}}')) as judge:
        settings = (f"judge={judge.spec()}", f"endpoint.prices={prices}")
        ran = await run("judged", model=endpoint.spec(), settings=settings, max_cost=5, max_connections=1)
        assert judge.bodies == []
    row = ran.rows["s0"]
    assert (row.outcome, row.error_kind) == ("cancelled", "cost_limit")


async def test_the_cache_answers_the_same_question_once(run: Any, endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.behave = adds
    cached = (f"endpoint.cache={tmp_path / 'cache.db'}",)
    await run("sums:n=2", model=endpoint.spec(), settings=cached)
    again = await run("sums:n=2", model=endpoint.spec(), settings=cached)
    assert len(endpoint.bodies) == 2
    (call,) = again.events("s0", ModelCall)
    assert call.cached
    assert again.task("sums")["value"] == 1.0
    assert again.task("sums")["latency_ms"]["p50"] is None
    await run("sums:n=2", model=endpoint.spec(), settings=cached, epochs=2)
    assert len(endpoint.bodies) == 4, "each epoch is drawn anew"
    await run("sums:n=2", model=endpoint.spec())
    assert len(endpoint.bodies) == 6, "no cache unless asked for"


async def test_the_floors_of_choice_tasks(run: Any) -> None:
    majority = await run("letters", model="majority")
    assert majority.task("letters")["value"] == pytest.approx(2 / 3), "B is right twice"
    drawn = [await run("letters", model="random", seed=seed, epochs=8) for seed in (1, 1, 2)]
    answers = [[event.answer for row in ran.reader.trials() for event in _scored(ran, row.trial)] for ran in drawn]
    assert set(answers[0]) == {"A", "B"}
    assert answers[0] == answers[1], "the same seed draws the same"
    assert answers[0] != answers[2]
    likely = await run("likely", model="majority")
    assert likely.task("likely")["value"] == pytest.approx(2 / 3)


def _scored(ran: Any, trial: int) -> list[Scored]:
    events = [stored.event for stored in ran.reader.events(trial, types={"score"})]
    return [event for event in events if isinstance(event, Scored)]


async def test_the_reference_earns_everything_and_nothing_earns_nothing(run: Any) -> None:
    names = ("sums", "letters", "likely", "raw")
    assert [(await run(*names, model="reference")).task(name)["value"] for name in names] == [1.0] * 4
    nothing = await run(*names, model="nop")
    assert [nothing.task(name)["value"] for name in names] == [0.0] * 4
    assert nothing.task("sums")["flags"] == {"empty": 3}


async def test_a_run_says_how_it_was_made_and_can_be_computed_again(run: Any, endpoint: Endpoint) -> None:
    from agentlab.service.summary import compute_summary

    endpoint.behave = adds
    ran = await run("sums", model=endpoint.spec(), name="first", tags=("t",))
    document = json.loads((ran.end.run_dir / "run.json").read_text())
    assert (document["status"], document["name"], document["model"]) == ("finished", "first", "tiny")
    assert document["summary"] == json.loads(json.dumps(ran.end.summary.as_dict()))
    again = compute_summary(ran.end.run_dir, document, {})
    assert again.as_dict() == ran.end.summary.as_dict()
    assert document["tasks"]["sums"]["scaffolds"]["direct"]["config"]["model"] == "tiny"
    assert not ran.events("s0", ErrorRaised)


LOOK = """
from agentlab.models.tools import tool

@tool
async def look(key: str) -> str:
    'Look.'
    return key
"""


async def test_the_reference_speaks_with_the_tools_that_there_are(run: Any, tmp_path: Path) -> None:
    """It called `submit` where a harness had none, and earned nothing."""
    tool = tmp_path / "own_tools.py"
    tool.write_text(LOOK)
    for names in (f"'{tool}::look'", f"'{tool}::look', submit"):
        harness = tmp_path / "own.yaml"
        harness.write_text(f"name: own\nscaffold: tools\ntools: [{names}]\n")
        ran = await run("sums", model="reference", harness=str(harness))
        assert ran.rows["s1"].route["scaffold"] == "tools"
        assert ran.task("sums")["value"] == 1.0, names


async def test_a_resume_may_change_how_the_endpoint_is_asked(run: Any, endpoint: Endpoint) -> None:
    """`--resume RUN --set endpoint...` was refused, and forgot what the first invocation had set."""
    endpoint.behave = status(400, "not now")
    first = await run("sums:n=1", model=endpoint.spec(), settings=("sampling.temperature=0.9",))
    config = stored_config(first.document, {})
    slower = with_settings(config.harness, ("endpoint.timeout_s=1200",))
    assert (slower.endpoint.timeout_s, slower.sampling.temperature) == (1200, 0.9)
    assert slower.explicit == ("temperature",)
    changed = stored_config(first.document, {"harness": slower, "max_connections": 2})
    endpoint.behave = adds
    planned = prepare(changed, open_backend("docker").offers)
    end = await launch(planned, resume=first.end.run_dir, quiet=True, say=lambda sentence: None)
    assert end.summary.tasks[0].value == 1.0
    other = stored_config(first.document, {"harness": with_settings(config.harness, ("sampling.temperature=0.1",))})
    with pytest.raises(ConfigError, match=r"sampling\.temperature: 0\.9 -> 0\.1"):
        await launch(
            prepare(other, open_backend("docker").offers), resume=end.run_dir, quiet=True, say=lambda sentence: None
        )


def test_a_task_is_checked_by_its_reference_and_by_doing_nothing() -> None:
    name = f"{LITTLE_TASKS}::sums"
    reference, nothing = check_task(name, resolve([name]).tasks[0], limit=2, sandbox=None)
    assert (reference.model, reference.n, reference.passed) == ("reference", 2, True)
    assert (nothing.model, nothing.passed) == ("nop", True)
    name = f"{LITTLE_TASKS}::silence"
    _, nothing = check_task(name, resolve([name]).tasks[0], limit=None, sandbox=None)
    assert not nothing.passed
    assert nothing.failures == ("hush: 1.000, at most 0.000 is right",)
