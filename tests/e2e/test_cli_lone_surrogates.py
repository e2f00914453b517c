"""Half of a surrogate pair from the endpoint, wherever it stands, costs at most its trial, and the trace is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from e2e.command_line import Cli, question, quiz, solve
from endpoints import Endpoint, chat, stream

HALF = r"\ud800"
TOOLS = '''
from agentlab.models.tools import tool

@tool
async def echo(text: str) -> str:
    """Say it again."""
    return text
'''
HARNESS = "name: own\nscaffold: tools\ntools: [own_tools.py::echo]\n"


def message(content: str = "null", name: str = "echo", arguments: str = '"{}"', call: str = "c") -> bytes:
    """A chat answer, byte by byte: its texts stand in it as they are given."""
    calls = f'[{{"id": "{call}", "type": "function", "function": {{"name": "{name}", "arguments": {arguments}}}}}]'
    said = f'{{"role": "assistant", "content": {content}, "tool_calls": {calls if content == "null" else "null"}}}'
    return f'{{"choices": [{{"message": {said}, "finish_reason": "stop"}}]}}'.encode()


PLACES = {
    "content": message(content=f'"2 {HALF}"'),
    "tool name": message(name=f"ec{HALF}ho"),
    "call id": message(call=HALF),
    "arguments, escaped twice": message(arguments=json.dumps(f'{{"text": "a{HALF}"}}')),
    "arguments, escaped once": message(arguments=f'"{{\\"text\\": \\"a{HALF}\\"}}"'),
    "arguments as an object": message(arguments=f'{{"text": "a{HALF}"}}'),
    "name of an argument": message(arguments=json.dumps(f'{{"{HALF}": "a"}}')),
}


@pytest.mark.parametrize("place", PLACES)
async def test_half_a_pair_harms_nothing(cli: Cli, endpoint: Endpoint, place: str) -> None:
    def behave(body: dict[str, Any], request: web.Request) -> Any:
        if question(body) != "q1" or body["messages"][-1]["role"] == "tool":
            return solve(body)
        return PLACES[place]

    endpoint.behave = behave
    cli.write("quiz.py", quiz(3))
    cli.write("own_tools.py", TOOLS)
    cli.write("own.yaml", HARNESS)
    ended = await cli("run", "quiz.py", "--model", endpoint.spec(), "--harness", "own.yaml", "--json")
    assert ended.code == 0 and ended.document["tasks"][0]["outcomes"]["scored"] == 3, ended.err
    trace = (await cli("traces", "show", "latest", "quiz/q1", "--json")).document
    assert "\ufffd" in json.dumps(trace, ensure_ascii=False)
    assert "score 1 by number" in (await cli("traces", "show", "latest", "quiz/q1")).out
    if place.startswith("arguments"):
        sent = [body["messages"][-1] for body in endpoint.bodies if body["messages"][-1]["role"] == "tool"]
        assert [result["content"] for result in sent] == ["a\ufffd"]


async def test_half_a_pair_in_a_stream_harms_nothing(cli: Cli, endpoint: Endpoint) -> None:
    async def behave(body: dict[str, Any], request: web.Request) -> Any:
        if question(body) != "q1":
            return solve(body)
        return await stream(request, [{"content": "2 "}, {"content": "\ud800"}])

    endpoint.behave = behave
    cli.write("quiz.py", quiz(3))
    run = ("run", "quiz.py", "--model", endpoint.spec(), "--set", "endpoint.stream=true")
    ended = await cli(*run, "--json")
    assert ended.document["tasks"][0]["outcomes"]["scored"] == 3, ended.err
    assert "\ufffd" in (await cli("traces", "show", "latest", "quiz/q1")).out


async def test_half_a_pair_in_an_error_is_one_clear_outcome(cli: Cli, endpoint: Endpoint) -> None:
    refusal = web.Response(status=400, body=b'{"error": {"message": "no \\ud800 here"}}')
    endpoint.behave = lambda body, request: refusal if question(body) == "q1" else chat("2")
    cli.write("quiz.py", quiz(2))
    ended = await cli("run", "quiz.py", "--model", endpoint.spec(), "--json")
    (error,) = ended.document["errors"]
    assert error["kind"] == "model:bad_request" and error["message"].endswith("HTTP 400: no \ufffd here")
