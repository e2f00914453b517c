"""An endpoint that dies in the middle of a run ends the run cleanly, with a sentence and the command to go on with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from e2e.command_line import Cli, Ended, asked, quiz, solve
from endpoints import Endpoint, chat, reset, serve, status

N = 60
RUN = ("run", "quiz.py", "--max-connections", "2", "--set", "endpoint.max_retries=0")
GOOD = 10
JUDGED = quiz(N).replace("number()]", "rubric(['It is a sum.'])]").replace("import number", "import rubric")


@asynccontextmanager
async def mortal(answer: Any) -> AsyncIterator[Endpoint]:
    """An endpoint that is gone after `GOOD` answers: connections break off, and its port refuses."""

    async def behave(body: dict[str, Any], request: web.Request) -> Any:
        if len(endpoint.arrived) <= GOOD:
            return answer(body, request)
        await endpoint.stop()
        return await reset(body, request)

    async with serve(behave) as endpoint:
        yield endpoint


async def test_a_run_whose_endpoint_dies_stops_and_says_so(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(N))
    async with mortal(solve) as dying:
        ended = await cli(*RUN, "--model", dying.spec())
        said = refused_cleanly(ended, dying)
        done = asked(dying)
    assert said.count(dying.base_url) == 1
    rows = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert len(rows) < N / 2, "the other trials were not begun"
    assert {row["outcome"] for row in rows} == {"scored", "model"}
    resumed = await cli("run", "--resume", "latest", "--model", endpoint.spec(), "--json")
    assert resumed.code == 0 and resumed.document["tasks"][0]["n"] == N
    scored = {row["sample"] for row in rows if row["outcome"] == "scored"}
    assert not scored & set(asked(endpoint)) and scored <= set(done)


async def test_it_is_told_in_json_too(cli: Cli) -> None:
    cli.write("quiz.py", quiz(N))
    async with mortal(solve) as dying:
        ended = await cli(*RUN, "--model", dying.spec(), "--json", "--fail-on-error")
    assert ended.code == 3 and ended.document["status"] == "unreachable"
    assert "is gone" in ended.err


async def test_a_judge_that_dies_is_named_and_the_model_is_not(cli: Cli, endpoint: Endpoint) -> None:
    """The model goes on answering between the judge's failures: that says nothing of the judge."""
    cli.write("quiz.py", JUDGED)
    async with mortal(lambda body, request: chat('{"grades": {"1": 1}}')) as judge:
        ended = await cli(*RUN, "--model", endpoint.spec(), "--set", f"judge={judge.spec('tiny')}")
        said = refused_cleanly(ended, judge)
    assert endpoint.base_url not in said
    assert len(endpoint.arrived) < N / 2
    async with serve(lambda body, request: chat('{"grades": {"1": 1}}')) as judge:
        resumed = await cli("run", "--resume", "latest", "--set", f"judge={judge.spec('tiny')}", "--json")
    assert resumed.code == 0 and resumed.document["tasks"][0]["outcomes"]["scored"] == N


@pytest.mark.parametrize("trouble", [status(503, "busy"), status(429, headers={"Retry-After": "0"}), reset])
async def test_an_endpoint_that_is_there_and_fails_costs_trials_and_not_the_run(
    cli: Cli, endpoint: Endpoint, trouble: Any
) -> None:
    cli.write("quiz.py", quiz(N))
    endpoint.queue(*[solve] * 5)
    endpoint.behave = trouble
    ended = await cli(*RUN, "--model", endpoint.spec(), "--json")
    assert ended.code == 0 and ended.document["status"] == "finished"
    outcomes = ended.document["tasks"][0]["outcomes"]
    assert (outcomes["scored"], outcomes["model"]) == (5, N - 5)


HTML = b"<html><body>Sign in</body></html>"


@pytest.mark.parametrize(
    ("refusal", "why"),
    [
        (status(401, "no such key"), "HTTP 401: no such key"),
        (status(403), "HTTP 403"),
        (status(404), "HTTP 404"),
        (status(307), "HTTP 307"),
        (lambda body, request: HTML, "the answer is no JSON"),
    ],
)
async def test_an_endpoint_that_refuses_all_from_the_start_stops_the_run(
    cli: Cli, endpoint: Endpoint, refusal: Any, why: str
) -> None:
    """A wrong key once cost every trial of a run, which then ended as if it had gone well."""
    cli.write("quiz.py", quiz(N))
    endpoint.behave = refusal
    ended = await cli(*RUN, "--model", endpoint.spec())
    assert ended.code == 3 and "Traceback" not in ended.err, ended
    (said,) = [line for line in ended.err.splitlines() if line.startswith("stopping: ")]
    assert f"{endpoint.base_url} has refused every call so far" in said and why in said
    assert "resume with: agentlab run --resume runs/" in ended.out
    assert len(endpoint.arrived) < N / 2
    endpoint.behave = solve
    resumed = await cli("run", "--resume", "latest", "--json")
    assert resumed.code == 0 and resumed.document["tasks"][0]["outcomes"]["scored"] == N


@pytest.mark.parametrize(("n", "code"), [(1, 401), (2, 403), (4, 404)])
async def test_a_run_too_short_to_be_stopped_that_met_refusals_only_has_measured_nothing(
    cli: Cli, endpoint: Endpoint, n: int, code: int
) -> None:
    """With fewer than five trials a wrong key ended as if all had gone well."""
    cli.write("quiz.py", quiz(n))
    endpoint.behave = status(code)
    ended = await cli(*RUN, "--model", endpoint.spec())
    assert ended.code == 3 and "Traceback" not in ended.err, ended
    assert f"{endpoint.base_url} has refused" in ended.err and f"HTTP {code}" in ended.err
    assert "resume with: agentlab run --resume runs/" in ended.out
    endpoint.behave = solve
    resumed = await cli("run", "--resume", "latest", "--json")
    assert resumed.code == 0 and resumed.document["tasks"][0]["outcomes"]["scored"] == n


async def test_refusals_after_a_good_answer_cost_trials_and_not_the_run(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(N))
    endpoint.queue(solve)
    endpoint.behave = status(404)
    ended = await cli(*RUN, "--model", endpoint.spec(), "--json")
    assert ended.code == 0 and ended.document["tasks"][0]["outcomes"]["model"] == N - 1


async def test_a_task_that_the_endpoint_cannot_be_asked_stops_and_others_go_on(cli: Cli, endpoint: Endpoint) -> None:
    """A raw prompt wants /completions, which many endpoints lack: all its trials once failed one by one."""
    cli.write("quiz.py", quiz(N))
    cli.write("raw.py", quiz(N).replace("quiz", "raw").replace("prompt=", "prompt_mode='raw', prompt="))
    endpoint.complete = status(404)
    ended = await cli("run", "raw.py", *RUN[1:], "--model", endpoint.spec(), "--json")
    assert ended.code == 1 and ended.document["status"] == "incomplete"
    raw, good = ended.document["tasks"]
    assert 5 <= raw["outcomes"]["model"] < N / 2 and good["outcomes"]["scored"] == N
    assert ended.err.count("the endpoint has no completions") == 1
    for few in ((), ("--limit", "2")):
        alone = await cli("run", "raw.py", *RUN[2:], *few, "--model", endpoint.spec(), "--json")
        assert alone.code == 3 and alone.document["status"] == "unreachable"


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_an_image_that_is_not_there_is_one_error_and_other_tasks_go_on(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(N))
    cli.write("boxed.py", quiz(N).replace("quiz", "boxed").replace("prompt=", "requires=('shell',), prompt="))
    agent = ("--harness", "tools", "--set", "box.image=127.0.0.1:1/nobody/nothing:none", "--model", endpoint.spec())
    ended = await cli("run", "boxed.py", *RUN[1:], *agent, "--json")
    assert ended.code == 1 and ended.document["status"] == "incomplete"
    boxed, good = ended.document["tasks"]
    assert boxed["outcomes"]["sandbox"] == boxed["trials"] == 1 and good["outcomes"]["scored"] == N
    alone = await cli("run", "boxed.py", *RUN[2:], *agent)
    assert alone.code == 3 and "127.0.0.1:1/nobody/nothing:none" in alone.err
    assert "resume with: agentlab run --resume runs/" in alone.out


def refused_cleanly(ended: Ended, gone: Endpoint) -> str:
    """The sentence that says what happened; the command that goes on is printed."""
    assert ended.code == 3 and "Traceback" not in ended.err, ended
    (said,) = [line for line in ended.err.splitlines() if "is gone" in line]
    assert said.startswith(f"stopping: {gone.base_url} is gone"), said
    assert "unreachable" in ended.out and "resume with: agentlab run --resume runs/" in ended.out
    return said
