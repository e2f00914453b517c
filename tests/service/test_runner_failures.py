"""A failure stays in its trial: one outcome, a clear message, and nothing else is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from endpoints import Behave, Endpoint, calling, chat, hang, reset, status, stream, tool_call

from agentlab.sandboxes import open_backend
from agentlab.service.config import RunConfig
from agentlab.service.harness import load_harness
from agentlab.service.launch import launch
from agentlab.service.prepare import prepare
from agentlab.tasks import TaskError
from agentlab.traces.events import ErrorRaised, ModelRetry
from agentlab.traces.reader import RunReader

QUICK = ("endpoint.timeout_s=0.4", "endpoint.max_retries=0")


def asks_for(number: int, body: dict[str, Any]) -> bool:
    return f"What is {number} + {number}?" in body["messages"][-1]["content"]


def lying(lie: Any) -> Behave:
    """Tells the truth about all sums but the second one."""

    def behave(body: dict[str, Any], request: Any) -> Any:
        for number in (0, 2, 3):
            if asks_for(number, body):
                return chat(str(2 * number))
        return lie(body, request) if callable(lie) else lie

    return behave


@pytest.mark.parametrize(
    ("lie", "kind", "told"),
    [
        (b'{"choices": [', "bad_response", "JSON"),
        (b"<html>busy</html>", "bad_response", "JSON"),
        (b"", "bad_response", ""),
        ({"object": "chat.completion"}, "bad_response", "choices"),
        ({"choices": []}, "bad_response", "choice"),
        ({"choices": [{"message": {"role": "assistant", "content": 17}}]}, "bad_response", "content"),
        ({"choices": "none"}, "bad_response", "choices"),
        ({"choices": [{"index": 0}]}, "bad_response", "message"),
        ({"error": {"message": "the engine died", "code": 400}}, "bad_request", "the engine died"),
        (status(400, "no such parameter"), "bad_request", "no such parameter"),
        (status(404, "no such model"), "not_found", "no such model"),
        (status(500, "out of memory"), "server", "out of memory"),
        (status(429, "slow down", headers={"Retry-After": "0"}), "rate_limit", "slow down"),
        (status(400, "maximum context length is 10 tokens"), "context_length", "context length"),
        (reset, "connection", ""),
        (hang, "timeout", ""),
    ],
)
async def test_a_lying_endpoint_costs_one_trial(run: Any, endpoint: Endpoint, lie: Any, kind: str, told: str) -> None:
    endpoint.behave = lying(lie)
    ran = await run("sums:n=4", model=endpoint.spec(), settings=QUICK)
    rows = ran.rows
    assert [rows[f"s{n}"].outcome for n in (0, 2, 3)] == ["scored"] * 3
    failed = rows["s1"]
    assert (failed.outcome, failed.error_kind, failed.value) == ("model", kind, None)
    assert endpoint.base_url in failed.error_message
    assert told.lower() in failed.error_message.lower()
    (event,) = ran.events("s1", ErrorRaised)
    assert (event.boundary, event.message) == ("model", failed.error_message)
    assert ran.end.status == "finished"
    assert ran.end.summary.errors_total == 1


async def test_a_stream_that_breaks_off_costs_one_trial(run: Any, endpoint: Endpoint) -> None:
    async def behave(body: dict[str, Any], request: Any) -> Any:
        return await stream(request, [{"role": "assistant", "content": "0"}], cut=asks_for(1, body))

    endpoint.behave = behave
    ran = await run("sums:n=2", model=endpoint.spec(), settings=(*QUICK, "endpoint.stream=true"))
    assert (ran.rows["s0"].outcome, ran.rows["s1"].outcome) == ("scored", "model")
    assert ran.task("sums")["latency_ms"]["ttft_p50"] is not None


async def test_a_broken_tool_call_is_no_error_of_the_endpoint(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: calling(tool_call("paint", '{"a": '))
    ran = await run("calls", model=endpoint.spec())
    assert ran.rows["c"].outcome == "scored"


async def test_each_failed_try_is_kept(run: Any, endpoint: Endpoint) -> None:
    busy = status(429, "slow down", headers={"Retry-After": "0"})
    endpoint.queue(busy, busy)
    endpoint.behave = lambda body, request: chat("0")
    ran = await run("sums:n=1", model=endpoint.spec())
    assert ran.rows["s0"].value == 1.0
    assert [event.kind for event in ran.events("s0", ModelRetry)] == ["rate_limit", "rate_limit"]


async def test_a_storm_of_refusals_is_waited_out(run: Any, endpoint: Endpoint) -> None:
    endpoint.queue(*[status(429, "slow down", headers={"Retry-After": "0"})] * 12)
    endpoint.behave = lying(chat("2"))
    ran = await run("sums:n=4", model=endpoint.spec(), settings=("endpoint.max_retries=12",))
    assert {row.outcome for row in ran.rows.values()} == {"scored"}
    assert ran.task("sums")["value"] == 1.0


async def test_both_clients_store_the_same(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lying(status(400, "no such parameter"))
    stored = []
    for client in ("direct", "openai"):
        ran = await run("sums:n=4", model=endpoint.spec(), settings=(*QUICK, f"endpoint.client={client}"))
        rows = ran.rows.values()
        stored.append([(row.trial, row.outcome, row.value, row.error_kind, row.usage) for row in rows])
    assert stored[0] == stored[1]


async def test_scorers_that_fail_are_verifier_errors(run: Any) -> None:
    ran = await run("moody", model="nop")
    told = {name: (row.outcome, row.error_kind) for name, row in ran.rows.items()}
    assert told == {
        "raises": ("verifier", "RuntimeError"),
        "beyond": ("verifier", "range"),
        "nan": ("verifier", "nan"),
        "infinite": ("verifier", "nan"),
        "named": ("verifier", "nan"),
        "nothing": ("verifier", "TypeError"),
        "good": ("scored", ""),
    }
    assert "the grader fell over" in ran.rows["raises"].error_message
    (event,) = ran.events("raises", ErrorRaised)
    assert "Traceback" in event.detail
    assert ran.task("moody")["value"] == 1.0, "errors are left out of the score"
    json.dumps(ran.end.summary.as_dict(), allow_nan=False)


async def test_a_prompt_that_cannot_be_built_is_a_task_error(run: Any, endpoint: Endpoint) -> None:
    """One such sample once ended the whole run."""
    endpoint.behave = lambda body, request: chat("2")
    ran = await run("unpromptable", model=endpoint.spec())
    assert ran.rows["good"].value == 1.0
    assert (ran.rows["bad"].outcome, ran.rows["bad"].error_kind) == ("task", "prompt")


async def test_what_cannot_be_routed_is_a_task_error_with_its_reason(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("2")
    ran = await run("unroutable", model=endpoint.spec())
    assert {name: row.outcome for name, row in ran.rows.items()} == {
        "good": "scored",
        "unknown": "task",
        "missing": "scored",
        "files": "task",
    }
    assert "teleport" in ran.rows["unknown"].error_message
    assert ran.end.summary.errors[0]["kind"] == "task:unroutable"


async def test_a_task_that_cannot_be_loaded_is_one_recorded_error(run: Any, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("0")
    ran = await run("sums:n=1", "malformed", model=endpoint.spec())
    row = ran.rows["*"]
    assert (row.task, row.trial, row.outcome, row.error_kind) == ("malformed", 2, "task", "load")
    assert ran.task("malformed")["outcomes"]["task"] == 1
    assert ran.task("malformed")["value"] is None


SHRINKING = """
from agentlab.tasks import DataSource, Sample, Task, task
from agentlab.tasks.scorers import number

@task
def shrinking():
    return Task(source=DataSource({data!r}), to_sample=lambda row: Sample(**row), scorers=[number()])
"""


async def test_data_that_shrinks_under_a_run_ends_it_with_its_own_error(endpoint: Endpoint, tmp_path: Path) -> None:
    """The error came wrapped in the groups of the runner's tasks, which no command line reads."""
    data, task = tmp_path / "rows.jsonl", tmp_path / "own_task.py"
    rows = [json.dumps({"id": f"s{n}", "input": "?", "target": "1"}) + "\n" for n in range(3)]
    data.write_text("".join(rows))
    task.write_text(SHRINKING.format(data=str(data)))
    config = RunConfig(
        tasks=(f"{task}::shrinking",),
        model=endpoint.spec(),
        harness=load_harness("direct"),
        runs_dir=str(tmp_path / "runs"),
    )
    planned = prepare(config, open_backend("docker").offers)
    data.write_text(rows[0])
    with pytest.raises(TaskError, match="the data changed since it was read the first time"):
        await launch(planned, quiet=True, say=lambda sentence: None)


async def test_a_run_that_is_cancelled_keeps_what_it_has(run: Any, plan: Any, endpoint: Endpoint) -> None:
    reached = anyio.Event()

    async def behave(body: dict[str, Any], request: Any) -> Any:
        if asks_for(0, body):
            return chat("0")
        reached.set()
        return await hang(body, request)

    endpoint.behave = behave
    planned = plan("sums:n=2", model=endpoint.spec(), max_connections=1)
    async with anyio.create_task_group() as group:

        async def go() -> None:
            await launch(planned, quiet=True, say=lambda sentence: None)

        group.start_soon(go)
        await reached.wait()
        group.cancel_scope.cancel()
    (run_dir,) = Path(planned.config.runs_dir).iterdir()
    with RunReader(run_dir) as reader:
        outcomes = {row.sample: (row.outcome, row.error_kind) for row in reader.trials()}
    assert outcomes == {"s0": ("scored", ""), "s1": ("cancelled", "stopped")}

    endpoint.behave = lambda body, request: chat("2")
    ran = await run("sums:n=2", model=endpoint.spec(), resume=run_dir)
    assert [row.attempt for row in ran.reader.attempts(2)] == [1, 2]
    assert (ran.rows["s1"].outcome, ran.rows["s1"].value) == ("scored", 1.0)
