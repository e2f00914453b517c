"""Credentials of an endpoint's address: they work, and are found nowhere afterwards."""

from __future__ import annotations

import base64
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from e2e.command_line import Cli, Ended, Gate, quiz, solve
from endpoints import Endpoint, chat, serve

PASSWORD = "p@ss:very-hidden"
TOKEN = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
FORMS = (PASSWORD, "p%40ss%3Avery-hidden", "very-hidden", TOKEN, "query-hidden")


def guarded(answer: Any = solve) -> Any:
    """Answers who may ask; to others it repeats all that it was sent."""

    def behave(body: dict[str, Any], request: web.Request) -> Any:
        if request.headers.get("Authorization") == f"Basic {TOKEN}":
            return answer(body, request)
        told = f"{request.headers.get('Authorization')} {request.path_qs}"
        return web.json_response({"error": {"message": told}}, status=401)

    return behave


def login(endpoint: Endpoint, password: str = "p%40ss%3Avery-hidden") -> str:
    return endpoint.spec().replace("http://", f"http://user:{password}@")


def nothing_leaked(home: Path, *ended: Ended) -> None:
    texts = [part for command in ended for part in (command.out, command.err)]
    files = [path for path in (home / "runs").rglob("*") if path.is_file()]
    for form in FORMS:
        assert not [text for text in texts if form in text], form
        assert not [path for path in files if form.encode() in path.read_bytes()], form


@pytest.mark.parametrize("client", ["direct", "openai"])
@pytest.mark.parametrize("password", ["p%40ss%3Avery-hidden", PASSWORD])
async def test_basic_authentication_works_and_leaves_no_trace(
    cli: Cli, endpoint: Endpoint, client: str, password: str
) -> None:
    endpoint.behave = guarded()
    cli.write("quiz.py", quiz(3))
    run = ("run", "quiz.py", "--set", f"endpoint.client={client}")
    ended = await cli(*run, "--model", login(endpoint, password), "--json")
    assert ended.document["tasks"][0]["n"] == 3
    shown = await cli("results", "show", "latest")
    traces = await cli("traces", "show", "latest", "1")
    nothing_leaked(cli.home, ended, shown, traces)


@pytest.mark.parametrize("client", ["direct", "openai"])
async def test_a_refusal_that_repeats_what_was_sent_does_not_get_through(
    cli: Cli, endpoint: Endpoint, client: str
) -> None:
    endpoint.behave = guarded()
    cli.write("quiz.py", quiz(2))
    run = ("run", "quiz.py", "--set", f"endpoint.client={client}")
    ended = await cli(*run, "--model", login(endpoint).replace("user:", "other:"), "--json")
    assert ended.document["tasks"][0]["outcomes"]["model"] == 2
    variable = {"OPENAI_BASE_URL": f"{endpoint.base_url}?code=query-hidden", "OPENAI_API_KEY": "key-very-hidden"}
    by_variable = await cli(*run, "--model", "openai/tiny", "--json", env=variable)
    assert by_variable.document["tasks"][0]["outcomes"]["model"] == 2
    nothing_leaked(cli.home, ended, by_variable, await cli("results", "show", "latest"))


async def test_a_resume_says_what_must_be_typed_again(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = gate = Gate(guarded())
    cli.write("quiz.py", quiz(4).replace("number()]", "rubric(['A sum.'])]").replace("import number", "import rubric"))
    async with serve(guarded(lambda body, request: chat('{"grades": {"1": 1}}'))) as judge:
        run = ("run", "quiz.py", "--model", login(endpoint), "--set", f"judge={login(judge)}")
        process = await cli.start(*run, "--max-connections", "1")
        await gate.reached(1)
        process.send_signal(signal.SIGTERM)
        stopped = await cli.ended(process)
        gate.open.set()
        again = ("run", "--resume", "latest")
        here, there = (one.spec().replace("http://", "http://USER:PASSWORD@") for one in (endpoint, judge))
        assert f"--model '{here}' --set 'judge={there}'" in stopped.out
        refused = await cli(*again)
        refused.refused(2, "not stored", f"--model {here}", f"--set judge={there}")
        resumed = await cli(*again, "--model", login(endpoint), "--set", f"judge={login(judge)}", "--json")
    assert resumed.document["status"] == "finished" and resumed.document["tasks"][0]["n"] == 4
    nothing_leaked(cli.home, stopped, refused, resumed)


async def test_bad_addresses_are_refused_without_being_repeated(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(1))
    for address in (
        "http://user:very-hidden#x@127.0.0.1:1/v1#tiny",
        "http://user:very-hidden/x@127.0.0.1:1/v1#tiny",
        "http://user:very-hidden@/v1#tiny",
        "htp://user:very-hidden@127.0.0.1:1/v1#tiny",
        "user:very-hidden@127.0.0.1/v1",
        "http://127.0.0.1:1/v1?code=query-hidden#tiny",
    ):
        ended = await cli("run", "quiz.py", "--model", address)
        ended.refused(2)
        assert ended.err.count("\n") == 1
        nothing_leaked(cli.home, ended)
    judge = await cli("run", "quiz.py", "--model", endpoint.spec(), "--set", "judge=http://u:very-hidden@127.0.0.1/v1")
    judge.refused(2, "#NAME")
    nothing_leaked(cli.home, judge)
