"""What OpenAI-compatible endpoints answer, decoded by type: strict about what is needed, blind to everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from agentlab.models.address import hide
from agentlab.models.protocol import ChatResponse, ModelError
from agentlab.traces.events import Message, StopReason, ToolCall, Usage

Wire = TypeVar("Wire")

MAX_TOKENS = 10**9
"""More than this no call has used: an endpoint that says so is not believed."""

_OPEN, _CLOSE = "<think>", "</think>"
_WORD = re.compile(r"\S")
_STOP_REASONS: dict[str | None, StopReason] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
}


class CachedDetails(msgspec.Struct):
    cached_tokens: int | None = 0


class ReasoningDetails(msgspec.Struct):
    reasoning_tokens: int | None = 0


class WireUsage(msgspec.Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: CachedDetails | None = None
    completion_tokens_details: ReasoningDetails | None = None


class WireFunction(msgspec.Struct):
    name: str | None = None
    arguments: Any = None
    """A string of JSON by the protocol; some servers send the object itself."""


class WireToolCall(msgspec.Struct):
    function: WireFunction | None = None
    id: str | None = None
    index: int | None = None


class WireMessage(msgspec.Struct):
    content: str | list[dict[str, Any]] | UnsetType | None = UNSET
    tool_calls: list[WireToolCall] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class WireChoice(msgspec.Struct):
    message: WireMessage
    finish_reason: str | None = None


class WireChat(msgspec.Struct):
    choices: list[WireChoice]
    usage: WireUsage | None = None
    id: Any = ""
    model: Any = ""


class WireTextLogprobs(msgspec.Struct):
    tokens: list[str]
    token_logprobs: list[float | None]
    text_offset: list[int] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class WireTextChoice(msgspec.Struct):
    text: str
    index: int = 0
    finish_reason: str | None = None
    logprobs: WireTextLogprobs | None = None


class WireCompletion(msgspec.Struct):
    choices: list[WireTextChoice]
    usage: WireUsage | None = None
    id: Any = ""
    model: Any = ""


class ServedModel(msgspec.Struct):
    id: str


class ModelList(msgspec.Struct):
    data: list[ServedModel]


class ErrorBody(msgspec.Struct):
    error: Any = None
    message: Any = None
    detail: Any = None


CHAT = msgspec.json.Decoder(WireChat)
COMPLETION = msgspec.json.Decoder(WireCompletion)
MODELS = msgspec.json.Decoder(ModelList)
ERROR = msgspec.json.Decoder(ErrorBody)
_ARGUMENTS = msgspec.json.Decoder()


def read_chat(body: bytes, *, split_thinking: bool = True) -> ChatResponse:
    """A chat answer from its bytes. Raises `ModelError("bad_response")`."""
    return chat_response(decode(CHAT, body), split_thinking=split_thinking)


def read_completion(body: bytes, *, split_thinking: bool = True) -> ChatResponse:
    """A completions answer from its bytes. Raises `ModelError("bad_response")`."""
    wire = decode(COMPLETION, body)
    if not wire.choices:
        raise ModelError("bad_response", "the answer has no choices")
    return completion_response(wire.choices[0], wire.usage, wire.id, wire.model, split_thinking=split_thinking)


def completion_response(
    choice: WireTextChoice, usage: WireUsage | None, request_id: Any, model: Any, *, split_thinking: bool = True
) -> ChatResponse:
    """A completion in our words."""
    reasoning, text = split_reasoning(choice.text) if split_thinking else ("", choice.text)
    return ChatResponse(
        message=Message(role="assistant", content=text, reasoning=reasoning),
        stop_reason=_STOP_REASONS.get(choice.finish_reason, "unknown"),
        usage=read_usage(usage),
        model=_name(model),
        request_id=_name(request_id),
    )


def decode(decoder: msgspec.json.Decoder[Wire], body: bytes) -> Wire:
    """`body` by type. Raises `ModelError("bad_response")`, which says which field is wrong."""
    try:
        return _mended(decoder, body)
    except msgspec.ValidationError as error:
        raise ModelError("bad_response", f"the answer is not what the protocol says: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError("bad_response", f"the answer is no JSON: {error}") from error


def _mended(decoder: msgspec.json.Decoder[Wire], body: bytes) -> Wire:
    """`body` by type. Half of a surrogate pair, written as an escape, is no text: U+FFFD stands in for it."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError:
        mended = _without_surrogates(body)
        if mended is None:
            raise
        return decoder.decode(mended)


def _without_surrogates(body: bytes) -> bytes | None:
    """`body` with lone surrogates replaced; None where it has none, or is no JSON for another reason."""
    if b"\\ud" not in body.lower():
        return None
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def chat_response(wire: WireChat, *, split_thinking: bool = True) -> ChatResponse:
    """The answer in our words. Raises `ModelError("bad_response")` where it holds no answer at all."""
    if not wire.choices:
        raise ModelError("bad_response", "the answer has no choices")
    choice = wire.choices[0]
    message = _message(choice.message, split_thinking)
    stop_reason = _STOP_REASONS.get(choice.finish_reason, "unknown")
    if message.tool_calls and stop_reason == "stop":
        stop_reason = "tool_calls"
    return ChatResponse(
        message=message,
        stop_reason=stop_reason,
        usage=read_usage(wire.usage),
        model=_name(wire.model),
        request_id=_name(wire.id),
    )


def _message(wire: WireMessage, split_thinking: bool) -> Message:
    content = wire.content
    reasoning = wire.reasoning_content or wire.reasoning or ""
    if content is UNSET and not (wire.tool_calls or reasoning or wire.refusal):
        raise ModelError("bad_response", "the answer's message has neither content nor tool calls")
    if content is UNSET or content is None:
        text = wire.refusal or ""
    elif isinstance(content, str):
        text = content
    else:
        text = "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    if split_thinking and not reasoning and "think>" in text:
        reasoning, text = split_reasoning(text)
    calls = tuple(_tool_call(index, call) for index, call in enumerate(wire.tool_calls)) if wire.tool_calls else ()
    return Message(role="assistant", content=text, tool_calls=calls, reasoning=reasoning)


def split_reasoning(text: str) -> tuple[str, str]:
    """Thinking and answer of a text with inline `<think>` blocks: (thinking, answer).

    Blocks at the start are thinking, also when the template already wrote the opening tag (so that only `</think>`
    comes back) and when the budget ended inside the block (all is thinking, the answer is empty). Text without such a
    block comes back as it was.
    """
    thoughts: list[str] = []
    at, end = 0, len(text)  # places in the text: cutting it at each block would be quadratic
    while True:
        word = _WORD.search(text, at)
        start = word.start() if word else end
        opened = text.startswith(_OPEN, start)
        if opened:
            start += len(_OPEN)
        elif thoughts:
            break
        closing = text.find(_CLOSE, start)
        if closing < 0 and not opened:
            break
        if not opened and 0 <= text.find(_OPEN, start) < closing:
            break
        stop = end if closing < 0 else closing
        thoughts.append(text[start:stop].strip())
        at = min(stop + len(_CLOSE), end)
        if closing < 0:
            break
    if not thoughts:
        return "", text
    return "\n\n".join(thought for thought in thoughts if thought), text[at:].lstrip()


def _tool_call(index: int, wire: WireToolCall) -> ToolCall:
    call_id = wire.id or f"call_{index}"
    function = wire.function
    if function is None or not function.name:
        raw = _as_text(function.arguments) if function else ""
        return ToolCall(id=call_id, name="", raw=raw, error="the call names no function")
    return parse_tool_call(call_id, function.name, function.arguments)


def parse_tool_call(call_id: str, name: str, arguments: Any) -> ToolCall:
    """A call with its arguments parsed; broken ones are kept in `raw` with the reason in `error`, never raised."""
    if isinstance(arguments, str):
        if not arguments.strip():
            return ToolCall(id=call_id, name=name)
        try:
            parsed = _mended(_ARGUMENTS, arguments.encode("utf-8", "surrogatepass"))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return ToolCall(id=call_id, name=name, raw=arguments, error=f"malformed JSON: {error}")
    else:
        parsed = {} if arguments is None else arguments
    if isinstance(parsed, dict):
        return ToolCall(id=call_id, name=name, arguments=parsed)
    kind = {list: "an array", str: "a string", bool: "a boolean"}.get(type(parsed), "a number or null")
    return ToolCall(id=call_id, name=name, raw=_as_text(arguments), error=f"{kind} instead of an object")


def read_usage(wire: WireUsage | None) -> Usage:
    """Token counts; zero where the endpoint tells nothing. Raises `ModelError("bad_response")` for impossible ones."""
    if wire is None:
        return Usage()
    prompt, completion = wire.prompt_tokens_details, wire.completion_tokens_details
    return Usage(
        input_tokens=_tokens("prompt_tokens", wire.prompt_tokens),
        output_tokens=_tokens("completion_tokens", wire.completion_tokens),
        cached_tokens=_tokens("cached_tokens", prompt.cached_tokens) if prompt else 0,
        reasoning_tokens=_tokens("reasoning_tokens", completion.reasoning_tokens) if completion else 0,
    )


def _tokens(name: str, count: int | None) -> int:
    if count is None:
        return 0
    if not 0 <= count <= MAX_TOKENS:
        shown = str(count) if abs(count) < 10**30 else "a far larger number"
        raise ModelError("bad_response", f"the answer's usage says {name} {shown}: no count of tokens", retryable=False)
    return count


def error_text(body: bytes, *, limit: int = 300, secrets: Iterable[str] = ()) -> str:
    """What an error body says, short enough for one line: the message inside where there is one, else its beginning."""
    text = body[: 16 * limit].decode("utf-8", "replace")
    try:
        told = _mended(ERROR, body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    else:
        inner = told.error.get("message") if isinstance(told.error, dict) else told.error
        text = next((_as_text(value) for value in (inner, told.message, told.detail) if value), text)
    text = hide(text[: 16 * limit], secrets)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_status(body: bytes) -> int | None:
    """The HTTP status that an error inside a body names (500 where it names none); None where there is no error."""
    try:
        error = _mended(ERROR, body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _name(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
