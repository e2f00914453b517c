"""Lists of chat messages, which most formats have at their heart: one message, one event."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from agentlab.traces.events import (
    ContentPart,
    Event,
    ImagePart,
    Message,
    Role,
    Said,
    TextPart,
    ToolCall,
    ToolCallEvent,
    ToolResult,
)
from agentlab.traces.formats.imported import Source, rest_of, text_of

MAX_IMAGE = 32 << 20
"""Bytes of an image inside a message; a larger one is named and kept as it came."""

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_KNOWN = ("role", "content", "tool_calls", "tool_call_id", "name", "reasoning_content", "reasoning")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]


class Conversation(msgspec.Struct):
    """The events of a list of messages, and what the messages say beyond them, by their places."""

    events: list[Event]
    rest: dict[str, Any]

    def kept(self, field: str) -> dict[str, Any]:
        """The rest of the messages under the name of their list; nothing where nothing is left."""
        return {field: self.rest} if self.rest else {}


def conversation(messages: Any, source: Source, field: str = "messages") -> Conversation:
    """Read OpenAI-style messages. A tool's answer becomes a `ToolCallEvent` where its call is known, everything else a
    `Said`. Raises FormatError.
    """
    if not isinstance(messages, list):
        raise source.error("a list of messages is expected", field)
    found = Conversation([], {})
    calls = OpenCalls()
    for place, message in enumerate(messages):
        where = f"{field}[{place}]"
        if not isinstance(message, dict):
            raise source.error("a message is an object with role and content", where)
        event, rest = _read(cast("dict[str, Any]", message), calls, source, where)
        found.events.append(event)
        if rest:
            found.rest[str(place)] = rest
    return found


class OpenCalls:
    """The tool calls that were asked for and not answered yet."""

    def __init__(self) -> None:
        self._open: list[ToolCall] = []

    def ask(self, calls: Sequence[ToolCall]) -> None:
        self._open.extend(calls)

    def answered(self, call_id: str, name: str = "") -> ToolCall | None:
        """The call that an answer belongs to: by its id, without one by the tool's name, else the only one there is."""
        if call_id:
            matching = [call for call in self._open if call.id == call_id]
        else:
            matching = [call for call in self._open if call.name == name] if name else self._open[:]
            if not name and len(matching) > 1:
                return None
        if not matching:
            return None
        self._open.remove(matching[0])
        return matching[0]


def _read(message: dict[str, Any], calls: OpenCalls, source: Source, where: str) -> tuple[Event, dict[str, Any]]:
    spoken = message.get("role")
    role = _ROLES.get(spoken) if isinstance(spoken, str) else None
    if role is None:
        raise source.error(f"the role is {str(spoken)[:40]!r}; known are {', '.join(_ROLES)}", f"{where}.role")
    content, thinking, rest = content_of(message.get("content"), source, f"{where}.content")
    rest |= rest_of(message, *_KNOWN)
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if reasoning and not isinstance(reasoning, str):
        rest["reasoning"] = reasoning
        reasoning = ""
    asked = tool_calls(message.get("tool_calls"), source, f"{where}.tool_calls")
    calls.ask(asked)
    name, call_id = text_of(message.get("name")), text_of(message.get("tool_call_id"))
    made = Message(
        role=role,
        content=content,
        tool_calls=asked,
        tool_call_id=call_id,
        name=name,
        reasoning="\n".join(part for part in (reasoning or "", thinking) if part),
    )
    call = calls.answered(call_id, name) if role == "tool" else None
    return (Said(at=0.0, message=made) if call is None else answer(call, made)), rest


def answer(call: ToolCall, message: Message) -> ToolCallEvent:
    """The event of a tool's answer."""
    images = () if isinstance(message.content, str) else tuple(p for p in message.content if isinstance(p, ImagePart))
    return ToolCallEvent(at=0.0, call=call, result=ToolResult(content=message.text, images=images))


def content_of(content: Any, source: Source, where: str) -> tuple[str | tuple[ContentPart, ...], str, dict[str, Any]]:
    """The content of a message, the thinking that stands in it, and the parts that are neither text nor image."""
    if content is None or isinstance(content, str):
        return content or "", "", {}
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise source.error("text, or a list of parts, is expected", where)
    parts: list[ContentPart] = []
    thinking: list[str] = []
    rest: dict[str, Any] = {}
    for place, part in enumerate(content):
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, dict):
            raise source.error("a part is an object with a type", f"{where}[{place}]")
        read = _part(cast("dict[str, Any]", part), thinking)
        if read is None:
            rest[f"content[{place}]"] = part
            read = TextPart(text=f"[{str(part.get('type', 'part'))[:40]}]")
        if not isinstance(read, str):
            parts.append(read)
    if all(isinstance(part, TextPart) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, TextPart)), "\n".join(thinking), rest
    return tuple(parts), "\n".join(thinking), rest


def _part(part: dict[str, Any], thinking: list[str]) -> ContentPart | str | None:
    """A text or an image; an empty text for thinking, which goes into `thinking`; None for what is neither."""
    kind = part.get("type")
    text = part.get("text")
    if kind in ("text", "input_text", "output_text") and isinstance(text, str):
        return TextPart(text=text)
    if kind in ("reasoning", "thinking"):
        thought = part.get("reasoning") or part.get("thinking")
        if isinstance(thought, str) and not part.get("redacted"):
            thinking.append(thought)
            return ""
    if kind in ("image_url", "image", "input_image"):
        url = part.get("image_url") or part.get("image")
        return image_of(url.get("url") if isinstance(url, dict) else url)
    return None


def image_of(url: Any) -> ImagePart | None:
    """The image of a `data:` address; None for every other."""
    if not isinstance(url, str) or not url.startswith("data:") or len(url) > MAX_IMAGE * 4 // 3:
        return None
    head, _, body = url.partition(",")
    media = head.removeprefix("data:").partition(";")[0]
    if media not in _IMAGES or not head.endswith(";base64"):
        return None
    try:
        return ImagePart(media_type=cast("MediaType", media), data=base64.b64decode(body, validate=True))
    except binascii.Error:
        return None


def tool_calls(calls: Any, source: Source, where: str) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message, in OpenAI's form or flat (`name` or `function`, and `arguments`)."""
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise source.error("a list of calls is expected", where)
    made = []
    for place, call in enumerate(calls):
        at = f"{where}[{place}]"
        if not isinstance(call, dict):
            raise source.error("a call is an object with a function", at)
        function = call.get("function")
        named = function if isinstance(function, dict) else {**call, "name": function or call.get("name")}
        name = named.get("name")
        if not isinstance(name, str):
            raise source.error("the call names no function", f"{at}.function.name")
        made.append(tool_call(text_of(call.get("id")) or f"{at}", name, named.get("arguments")))
    return tuple(made)


def tool_call(call_id: str, name: str, arguments: Any) -> ToolCall:
    """A call whose arguments are an object, or the text of one. What is neither is kept as it came."""
    if isinstance(arguments, dict):
        return ToolCall(id=call_id, name=name, arguments=cast("dict[str, Any]", arguments))
    if arguments is None or arguments == "":
        return ToolCall(id=call_id, name=name)
    raw = arguments if isinstance(arguments, str) else text_of(arguments)
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        return ToolCall(id=call_id, name=name, raw=raw, error=f"the arguments are no JSON: {error}")
    if not isinstance(parsed, dict):
        return ToolCall(id=call_id, name=name, raw=raw, error="the arguments are no JSON object")
    return ToolCall(id=call_id, name=name, arguments=cast("dict[str, Any]", parsed))
