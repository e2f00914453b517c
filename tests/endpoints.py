"""A real HTTP server that speaks the OpenAI protocol, for tests: answers by rule, keeps what arrived, and lies on
demand.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behave = Callable[[dict[str, Any], web.Request], Any]
"""Request body to: a dict (JSON answer), bytes (raw body), a response, or an awaitable of one of these."""


@dataclass
class Arrived:
    """One request as the server saw it."""

    path: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes


@dataclass
class Endpoint:
    """A running server. Set `behave` for chat, `complete` for completions; `then` queues answers that come first."""

    base_url: str = ""
    models: list[str] = field(default_factory=lambda: ["tiny"])
    behave: Behave = lambda body, request: chat("ok")
    complete: Behave = lambda body, request: completion(body)
    arrived: list[Arrived] = field(default_factory=list)
    then: list[Behave] = field(default_factory=list)
    site: web.TCPSite | None = None
    in_flight: int = 0
    most_in_flight: int = 0

    def spec(self, name: str = "tiny") -> str:
        return f"{self.base_url}#{name}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [request.body for request in self.arrived]

    def queue(self, *behaviours: Behave) -> None:
        """The next requests are answered by these, one each, before `behave` and `complete` hold again."""
        self.then.extend(behaviours)

    async def stop(self) -> None:
        """Take no more connections: its port refuses, as that of a server does that died."""
        site, self.site = self.site, None
        if site is not None:
            await site.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else {}
        self.arrived.append(Arrived(request.path, body, request.headers.copy(), raw))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            rule = (
                self.then.pop(0)
                if self.then
                else self.behave
                if request.path.endswith("/chat/completions")
                else self.complete
            )
            answer = rule(body, request)
            if isinstance(answer, Awaitable):
                answer = await answer
        finally:
            self.in_flight -= 1
        if isinstance(answer, web.StreamResponse):
            return answer
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return web.json_response(answer)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})


@asynccontextmanager
async def serve(behave: Behave | None = None) -> AsyncIterator[Endpoint]:
    """An endpoint on a free port of this machine."""
    endpoint = Endpoint()
    if behave is not None:
        endpoint.behave = behave
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/chat/completions", endpoint._answer)
    app.router.add_post("/v1/completions", endpoint._answer)
    app.router.add_get("/v1/models", endpoint._list)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    endpoint.base_url = f"http://127.0.0.1:{port}/v1"
    endpoint.site = site
    try:
        yield endpoint
    finally:
        await runner.cleanup()


def chat(
    content: str | None = "ok", *, finish: str = "stop", usage: dict[str, Any] | None = None, **message: Any
) -> dict[str, Any]:
    """A chat answer; further fields go into the message."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish,
                "logprobs": None,
            }
        ],
        "usage": usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def tool_call(name: str, arguments: Any, call_id: str = "call_a") -> dict[str, Any]:
    """One tool call as the wire has it; `arguments` that are no string are encoded."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def calling(*calls: dict[str, Any]) -> dict[str, Any]:
    """A chat answer that is nothing but tool calls."""
    return chat(None, finish="tool_calls", tool_calls=list(calls))


def bash(command: str, **arguments: Any) -> dict[str, Any]:
    """An answer that calls `bash`."""
    return calling(tool_call("bash", {"command": command, **arguments}))


def submit(answer: str = "") -> dict[str, Any]:
    """An answer that calls `submit`."""
    return calling(tool_call("submit", {"answer": answer}))


def completion(body: dict[str, Any], *, text: str = " done", bos: str = "") -> dict[str, Any]:
    """A completions answer. With `echo` and `logprobs` as vLLM gives it: words as tokens, each of log-probability
    -len(word).
    """
    prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
    choices = []
    for index, prompt in enumerate(prompts):
        shown = (prompt if body.get("echo") else "") + text
        choice: dict[str, Any] = {"index": index, "text": shown, "finish_reason": "length", "logprobs": None}
        if body.get("logprobs"):
            choice["logprobs"] = word_logprobs(([bos] if bos else []) + words(prompt) + [text])
        choices.append(choice)
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "tiny",
        "choices": choices,
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
    }


def words(text: str) -> list[str]:
    """Words with the space before them, as most tokenizers cut."""
    out: list[str] = []
    for char in text:
        if not out or char == " ":
            out.append(char)
        else:
            out[-1] += char
    return out


def word_logprobs(tokens: list[str]) -> dict[str, Any]:
    offsets, at = [], 0
    for token in tokens:
        offsets.append(at)
        at += len(token)
    values: list[float | None] = [None if index == 0 else -float(len(token)) for index, token in enumerate(tokens)]
    top = [
        None if value is None else {token: value, "other": -2.5} for token, value in zip(tokens, values, strict=True)
    ]
    return {"tokens": tokens, "token_logprobs": values, "text_offset": offsets, "top_logprobs": top}


async def stream(
    request: web.Request,
    deltas: list[dict[str, Any]],
    *,
    finish: str | None = "stop",
    done: bool = True,
    cut: bool = False,
    raw: bool = False,
) -> web.StreamResponse:
    """Server-sent events as vLLM sends them; `cut` drops the connection in the middle, `raw`
    streams completions instead of chat.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(data: dict[str, Any]) -> None:
        await response.write(b"data: " + json.dumps(data).encode() + b"\n\n")

    for delta in deltas:
        piece = delta if raw else {"delta": delta}
        await send({"id": "chatcmpl-1", "model": "tiny", "choices": [{"index": 0, "finish_reason": None, **piece}]})
    if cut:
        assert request.transport is not None
        request.transport.abort()
        return response
    if finish is not None:
        await send(
            {"id": "chatcmpl-1", "model": "tiny", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        )
        await send(
            {"id": "chatcmpl-1", "model": "tiny", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
        )
    if done:
        await response.write(b"data: [DONE]\n\n")
    return response


def status(code: int, message: str = "no", *, headers: dict[str, str] | None = None) -> Behave:
    """A behaviour that answers with an HTTP error in the shape of the protocol."""
    return lambda body, request: web.json_response(
        {"error": {"message": message, "type": "x", "code": code}}, status=code, headers=headers
    )


async def reset(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    """Closes the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hang(body: dict[str, Any], request: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.Event().wait()
    return web.Response()
