"""A model as an OpenAI-compatible endpoint: what a program of somebody else's is given to talk to.

Any model serves, scripted ones too; every call is recorded, and counts tokens and cost. It listens on 127.0.0.1 only
and wants a token, as other users of this machine could reach the port.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentlab.models.protocol import DEFAULT_SAMPLING, Model, ModelError, Sampling
from agentlab.traces.events import (
    ContentPart,
    ImagePart,
    Message,
    Recorder,
    TextPart,
    ToolCall,
    ToolSpec,
)

if TYPE_CHECKING:
    from aiohttp import web

    from agentlab.models.protocol import ChatResponse

MAX_BODY = 64 << 20
_SAME_NAME = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "response_format")
_STATUS = {"bad_request": 400, "context_length": 400, "unsupported": 400, "auth": 401, "not_found": 404}


@dataclass(frozen=True, slots=True)
class ModelPort:
    """Answers request bodies with a model."""

    model: Model
    recorder: Recorder
    sampling: Sampling = DEFAULT_SAMPLING
    """Holds where a request says nothing."""
    epoch: int = 0

    async def answer(self, body: Any) -> tuple[int, dict[str, Any]]:
        """Status and body for a chat request. Never raises but for cancellation."""
        try:
            messages, tools, asked = read_request(body)
            sampling = _beside(asked, self.sampling)
        except (KeyError, TypeError, ValueError) as error:
            return 400, _error(f"this is no chat request that can be answered: {error}")
        try:
            response = await self.model.chat(
                messages, tools=tools, sampling=sampling, recorder=self.recorder, epoch=self.epoch
            )
        except ModelError as error:
            return error.status or _STATUS.get(error.kind, 502), _error(str(error))
        return 200, write_response(response, self.model.name)


@asynccontextmanager
async def listening(port: ModelPort) -> AsyncIterator[tuple[str, str]]:
    """Serve on a free port of 127.0.0.1; yields base URL and token."""
    from aiohttp import web

    token = f"agentlab-{secrets.token_urlsafe(24)}"

    async def chat(request: web.Request) -> web.Response:
        if not secrets.compare_digest(request.headers.get("Authorization", ""), f"Bearer {token}"):
            return web.json_response(_error("the token of this run is missing"), status=401)
        try:
            body = await request.json()
        except ValueError:
            return web.json_response(_error("the body is not JSON"), status=400)
        status, answer = await port.answer(body)
        return web.json_response(answer, status=status)

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": port.model.name, "object": "model"}]})

    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes([web.post("/v1/chat/completions", chat), web.get("/v1/models", models)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (address,) = runner.addresses
        yield f"http://127.0.0.1:{address[1]}/v1", token
    finally:
        await runner.cleanup()


def _beside(asked: Sampling, held: Sampling) -> Sampling:
    """Field by field what was asked for, else what is held."""
    default = Sampling()
    chosen = {
        name: getattr(asked if getattr(asked, name) != getattr(default, name) else held, name)
        for name in Sampling.__struct_fields__
    }
    return Sampling(**chosen)


def read_request(body: Any) -> tuple[tuple[Message, ...], tuple[ToolSpec, ...], Sampling]:
    """Messages, tools and sampling of a request body. Raises KeyError, TypeError and ValueError."""
    if not isinstance(body, Mapping):
        raise TypeError("the body is an object")
    if body.get("stream"):
        raise ValueError("answers are not streamed here; ask without stream")
    if body.get("n") not in (None, 1):
        raise ValueError("one answer is given for each request; ask with n = 1")
    messages = tuple(_message(message) for message in body["messages"])
    tools = tuple(
        ToolSpec(
            str(tool["function"]["name"]),
            str(tool["function"].get("description") or ""),
            tool["function"].get("parameters") or {"type": "object", "properties": {}},
        )
        for tool in body.get("tools") or ()
    )
    stop = body.get("stop") or ()
    fields = {name: body[name] for name in _SAME_NAME if body.get(name) is not None}
    choice = body.get("tool_choice")
    return (
        messages,
        tools,
        Sampling(
            max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            tool_choice=choice if choice in ("auto", "none", "required") else None,
            **fields,
        ),
    )


def _message(wire: Mapping[str, Any]) -> Message:
    role = wire["role"]
    if role == "developer":
        role = "system"
    if role not in ("system", "user", "assistant", "tool"):
        raise ValueError(f"there is no role {role!r}")
    content = wire.get("content")
    calls = tuple(_tool_call(call) for call in wire.get("tool_calls") or ())
    return Message(
        role=role,
        content=content if isinstance(content, str) else tuple(_part(part) for part in content or ()) or "",
        tool_calls=calls,
        tool_call_id=str(wire.get("tool_call_id") or ""),
    )


def _part(wire: Mapping[str, Any]) -> ContentPart:
    if wire["type"] == "text":
        return TextPart(str(wire["text"]))
    head, comma, data = str(wire["image_url"]["url"]).partition(",")
    media = head.removeprefix("data:").removesuffix(";base64")
    if not comma or media not in ("image/png", "image/jpeg", "image/gif", "image/webp"):
        raise ValueError("images are sent as data: URLs of PNG, JPEG, GIF or WebP")
    return ImagePart(media_type=media, data=base64.b64decode(data))  # type: ignore[arg-type]  # checked above


def _tool_call(wire: Mapping[str, Any]) -> ToolCall:
    text = str(wire["function"].get("arguments") or "{}")
    arguments = json.loads(text)
    if not isinstance(arguments, dict):
        raise TypeError("the arguments of a tool call are an object")
    return ToolCall(id=str(wire["id"]), name=str(wire["function"]["name"]), arguments=arguments)


def write_response(response: ChatResponse, model: str) -> dict[str, Any]:
    """The answer as an endpoint gives it."""
    text = response.message.text
    message: dict[str, Any] = {
        "role": "assistant",
        "content": text if text or not response.message.tool_calls else None,
    }
    if response.message.reasoning:
        message["reasoning_content"] = response.message.reasoning
    if response.message.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.raw or json.dumps(call.arguments)},
            }
            for call in response.message.tool_calls
        ]
    reason = response.stop_reason if response.stop_reason != "unknown" else "stop"
    usage = response.usage
    return {
        "id": response.request_id or f"chatcmpl-{secrets.token_hex(8)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": response.model or model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
        },
    }


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "agentlab"}}
