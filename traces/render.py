"""A trace as text a person can read in a terminal, and as JSON.

What models and boxes say is hostile: shown raw, it could move the cursor, retitle the window, write to the clipboard
or reorder the text around it. `clean` takes that out; everything here goes through it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from agentlab.traces.events import (
    Artifact,
    ErrorRaised,
    Event,
    ImagePart,
    LimitReached,
    Message,
    ModelCall,
    ModelRetry,
    NetworkAccess,
    Note,
    Said,
    SandboxEnd,
    SandboxExec,
    SandboxStart,
    Scored,
    ToolCall,
    ToolCallEvent,
)
from agentlab.traces.rows import StoredEvent

# A control string without its end is not removed but for its beginning: else two bytes would hide the rest of a trace.
_SEQUENCES = re.compile(
    "|".join(
        (
            r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x18\x1a\x1b\x9c\n]{0,4096}(?:\x07|\x1b\\|\x9c)",  # OSC, DCS
            r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?",  # CSI: parameters, intermediates, final
            r"\x1b[ -/]*[0-~]?",  # any other escape
        )
    )
)
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)


def clean(text: str) -> str:
    """`text` without control sequences: printable characters, tabs and newlines stay.

    Removed are ANSI sequences, C0 and C1 controls, lone carriage returns (CRLF becomes LF), overrides of the writing
    direction, invisible tag characters and lone surrogates.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub("", _SEQUENCES.sub("", text.replace("\r\n", "\n")))


def cut(text: str, max_chars: int | None) -> str:
    """`text`, or its beginning and end with the number of characters between."""
    if max_chars is None or len(text) <= max_chars:
        return text
    head = max_chars * 2 // 3
    tail = max_chars - head
    said = f"... {len(text) - max_chars} more characters (--full) ..."
    return f"{text[:head]}\n{said}\n{text[len(text) - tail :]}"


def cut_lines(text: str, max_lines: int | None) -> str:
    """`text`, or its first and last lines with the number of lines between."""
    lines = text.split("\n")
    if max_lines is None or len(lines) <= max_lines:
        return text
    head = max_lines * 2 // 3
    tail = max_lines - head
    said = f"... {len(lines) - max_lines} more lines (--full) ..."
    return "\n".join([*lines[:head], said, *lines[len(lines) - tail :]])


def render_trace(
    events: Iterable[Event | StoredEvent],
    *,
    began: float | None = None,
    width: int = 100,
    max_chars: int | None = 2000,
    max_lines: int | None = 40,
) -> Iterator[str]:
    """The steps of a trace as blocks of lines without markup, one an event, numbered from 1.

    Everything is shown once: a model call shows only the messages that the call before it did not have, and what a
    tool was asked and answered stands at the tool's step. `began` is when the attempt began, in seconds since the
    epoch (None: at its first event); `width` is where long lines wrap, in characters; `max_lines` and `max_chars` are
    how much of each text is shown (None: all of it).
    """
    numbered = list(_numbered(events))
    carried_out = _carried_out(event for _, event in numbered)
    shown = _Shown()
    for number, event in numbered:
        began = event.at if began is None else began
        body = _Body(width, max_chars, max_lines)
        if isinstance(event, ModelCall):
            title = _model_call(event, shown, carried_out.get(id(event), frozenset()), body)
        else:
            title = _DESCRIBE[type(event)](event, body)
            if isinstance(event, ToolCallEvent):
                shown.told.add((event.call.id, event.result.content))
        after = _duration((event.at - began) * 1000)
        yield "\n".join([f"{number:3}  {_one_line(title)}  (+{after})", *body.lines])


class _Shown:
    """What the steps so far have shown of the conversations."""

    def __init__(self) -> None:
        self.messages: dict[str, tuple[Message, ...]] = {}
        """By the purpose of the calls: an agent's conversation goes on where a judge's came between."""
        self.told: set[tuple[str, str]] = set()
        """Results of tools: the id of the call, and the text that went back to the model."""

    def new_in(self, call: ModelCall) -> tuple[Message, ...]:
        """The messages of `call` that no step has shown yet."""
        before = self.messages.get(call.purpose, ())
        self.messages[call.purpose] = call.messages if call.response is None else (*call.messages, call.response)
        repeated = 0
        for old, new in zip(before, call.messages, strict=False):
            # Thinking is shown where it was thought, and mostly not sent back.
            if old != new and msgspec.structs.replace(old, reasoning=new.reasoning) != new:
                break
            repeated += 1
        if repeated < len(before) - 1:
            repeated = 0  # another conversation: shown from its beginning
        return tuple(
            m for m in call.messages[repeated:] if m.role != "tool" or (m.tool_call_id, m.text) not in self.told
        )


def _carried_out(events: Iterable[Event]) -> dict[int, frozenset[str]]:
    """For each model call (by `id`) the ids of those of its tool calls that a step of their own follows."""
    followed: dict[int, set[str]] = {}
    asked: ModelCall | None = None
    for event in events:
        if isinstance(event, ModelCall) and event.purpose == "agent":
            asked = event
        elif isinstance(event, ToolCallEvent) and asked is not None:
            followed.setdefault(id(asked), set()).add(event.call.id)
    return {key: frozenset(calls) for key, calls in followed.items()}


def _numbered(events: Iterable[Event | StoredEvent]) -> Iterator[tuple[int, Event]]:
    for place, item in enumerate(events):
        yield (item.seq + 1, item.event) if isinstance(item, StoredEvent) else (place + 1, item)


def to_json(events: Iterable[Event | StoredEvent]) -> list[dict[str, Any]]:
    """The events as plain data for JSON, each with its number `step`. `json.dumps` escapes every control character
    in it.
    """
    rows = []
    for number, event in _numbered(events):
        plain: dict[str, Any] = msgspec.to_builtins(event, enc_hook=repr, str_keys=True)
        rows.append({"step": number, **finite(plain)})
    return rows


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become null and words."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None if value != value else str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


class _Body:
    """The lines below a step's title."""

    def __init__(self, width: int, max_chars: int | None, max_lines: int | None) -> None:
        self.lines: list[str] = []
        self._width = max(20, width)
        self._max_chars = max_chars
        self._max_lines = max_lines

    def add(self, label: str, text: str) -> None:
        """Add `text` (hostile) below `label` (ours, or cleaned here); nothing for an empty text."""
        text = cut(cut_lines(clean(text).strip("\n"), self._max_lines), self._max_chars)
        if not text:
            return
        prefix = f"       {_one_line(label)}: " if label else "       "
        room = max(20, self._width - 9)
        lines = [piece for line in text.expandtabs(4).split("\n") for piece in _wrapped(line, room)]
        if len(lines) == 1 and len(prefix) + len(lines[0]) <= self._width:
            self.lines.append(prefix + lines[0])
            return
        if label:
            self.lines.append(prefix.rstrip())
        self.lines += [f"         {line}".rstrip() for line in lines]


def _one_line(text: str) -> str:
    return " ".join(clean(text).split("\n"))


def _wrapped(line: str, width: int) -> list[str]:
    """Pieces of at most `width` characters, broken at a blank (which goes), or in a word that is longer than that.
    Those after the first stand as far in as the first does, so that code keeps its shape.
    """
    indent = " " * min(len(line) - len(line.lstrip(" ")), width // 2)
    pieces = []
    start, lead = 0, ""
    while len(lead) + len(line) - start > width:
        end = start + width - len(lead)
        blank = line.rfind(" ", start + 1, end + 1)
        at_blank = blank > 0 and bool(line[start:blank].strip())
        pieces.append(lead + line[start : blank if at_blank else end])
        start, lead = blank + 1 if at_blank else end, indent
    return [*pieces, lead + line[start:]]


def _model_call(call: ModelCall, shown: _Shown, carried_out: frozenset[str], body: _Body) -> str:
    for message in shown.new_in(call):
        _message(message, frozenset(), body)
    body.add("prompt", call.prompt)
    for index, text in enumerate(call.continuations):
        score = f"{call.logprobs[index]:.3f}" if index < len(call.logprobs) else "?"
        body.add(f"continuation {score}", text)
    if call.response is not None:
        _message(call.response, carried_out, body)
    usage = call.usage
    facts = [f"{usage.input_tokens} tokens in", f"{usage.output_tokens} out", _duration(call.latency_ms)]
    if usage.cached_tokens:
        facts[0] += f" ({usage.cached_tokens} cached)"
    if call.ttft_ms is not None:
        facts.append(f"first token after {_duration(call.ttft_ms)}")
    if call.cost_usd is not None:
        facts.append(f"{call.cost_usd:.6f} USD")
    if call.cached:
        facts.append("from the cache")
    if call.stop_reason in ("length", "content_filter"):
        facts.append(f"stopped by {call.stop_reason}")
    who = "model" if call.purpose == "agent" else "judge"
    return f"{who}{f' {call.model}' if call.model else ''}: {', '.join(facts)}"


def _message(message: Message, carried_out: frozenset[str], body: _Body) -> None:
    body.add(f"{message.role}, thinking", message.reasoning)
    body.add(message.role, message.text)
    if not isinstance(message.content, str):
        for part in message.content:
            if isinstance(part, ImagePart):
                body.add(message.role, f"[{part.media_type} {part.sha256[:12] or f'{len(part.data)} bytes'}]")
    followed = [call.name for call in message.tool_calls if call.id in carried_out]
    body.add(f"{message.role} calls", ", ".join(followed))
    for call in message.tool_calls:
        if call.id not in carried_out:
            body.add(f"{message.role} calls {call.name}", _arguments(call) or "(no arguments)")


def _arguments(call: ToolCall) -> str:
    """The arguments on one line, or each on its own where one of them has several; as they came where malformed."""
    if call.error:
        return f"{call.raw}\nmalformed: {call.error}"
    texts = [f"{_one_line(name)}={_value(value)}" for name, value in call.arguments.items()]
    return ("\n" if any("\n" in text for text in texts) else ", ").join(texts)


def _value(value: Any) -> str:
    if isinstance(value, str) and "\n" in value.rstrip("\n"):
        return "".join(f"\n  {line}" for line in value.removesuffix("\n").split("\n"))
    return json.dumps(value, ensure_ascii=False, default=repr)


def _said(event: Said, body: _Body) -> str:
    message = event.message
    body.add("thinking", message.reasoning)
    body.add("", message.text)
    for call in message.tool_calls:
        body.add(f"calls {call.name}", _arguments(call))
    return f"{message.role} {message.name}".rstrip()


def _tool_call(event: ToolCallEvent, body: _Body) -> str:
    body.add("arguments", _arguments(event.call))
    result = event.result
    body.add("output", result.content)
    if result.dropped_bytes:
        body.add("", f"({result.dropped_bytes} bytes of output were cut, the model did not see them)")
    for image in result.images:
        body.add("image", f"[{image.media_type} {image.sha256[:12]}]")
    why = "" if result.error == "failed" else f": {result.error.replace('_', ' ')}"
    failure = f", failed{why}" if result.error else ""
    return f"tool {event.call.name}: {_duration(event.duration_ms)}{failure}"


def _sandbox_exec(event: SandboxExec, body: _Body) -> str:
    body.add("command", " ".join(event.argv))
    body.add("stdout", event.stdout)
    body.add("stderr", event.stderr)
    ended = "timed out" if event.timed_out else f"exit {event.exit_code}"
    return f"exec as {event.user}: {ended}{', out of memory' if event.oom else ''}, {_duration(event.duration_ms)}"


def _sandbox_start(event: SandboxStart, body: _Body) -> str:
    body.add("image", event.image)
    kind = event.sandbox if event.sandbox == event.isolation else f"{event.sandbox}, {event.isolation}"
    waited = f"waited {_duration(event.wait_ms)} for it, which took {_duration(event.start_ms)} to start"
    return f"box {event.box[:32]} for the {event.purpose}: {kind}, {waited}"


def _sandbox_end(event: SandboxEnd, body: _Body) -> str:
    waited = f", {_duration(event.waited_ms)} of them waited for its files" if event.waited_ms >= 1 else ""
    return f"box {event.box[:32]} given back after {_duration(event.seconds * 1000)}{waited}"


def _network(event: NetworkAccess, body: _Body) -> str:
    body.add("why", event.message)
    where = f"{event.host}:{event.port}" if event.port else event.host or "a connection"
    if event.verdict != "opened":
        return f"network {where} {event.verdict}: {event.reason}"
    moved = f"{event.sent_bytes} bytes out, {event.received_bytes} in"
    cut = f", cut: {event.reason}" if event.reason else ""
    return f"network {where} opened ({event.address}): {moved}, {_duration(event.duration_ms)}{cut}"


def _scored(event: Scored, body: _Body) -> str:
    body.add("answer", event.answer)
    body.add("target", event.target)
    body.add("why", event.explanation)
    body.add("also", ", ".join(f"{name} {value:g}" for name, value in event.scores.items()))
    flags = f", flagged {', '.join(event.flags)}" if event.flags else ""
    return f"score {event.value:g} by {event.scorer}, version {event.version}{flags}"


def _error(event: ErrorRaised, body: _Body) -> str:
    body.add("", event.message)
    body.add("detail", event.detail)
    return f"error at {event.boundary}: {event.kind}"


def _retry(event: ModelRetry, body: _Body) -> str:
    body.add("", event.message)
    status = f" (HTTP {event.status})" if event.status else ""
    then = "gave up" if event.wait_s is None else f"tried again after {event.wait_s:.1f} s"
    return f"model failed: {event.kind}{status}, {then}"


def _artifact(event: Artifact, body: _Body) -> str:
    body.add("sha256", event.sha256)
    return f"artifact {event.name or event.sha256[:12]}  {event.media_type}, {event.size} bytes"


def _limit(event: LimitReached, body: _Body) -> str:
    return f"limit reached: {event.limit} at {event.value:g}"


def _note(event: Note, body: _Body) -> str:
    body.add("", event.text)
    if event.data:
        body.add("data", json.dumps(event.data, ensure_ascii=False, default=repr))
    return "note"


_DESCRIBE: dict[type, Callable[[Any, _Body], str]] = {
    ModelRetry: _retry,
    Said: _said,
    ToolCallEvent: _tool_call,
    SandboxStart: _sandbox_start,
    SandboxExec: _sandbox_exec,
    SandboxEnd: _sandbox_end,
    NetworkAccess: _network,
    Artifact: _artifact,
    LimitReached: _limit,
    Scored: _scored,
    ErrorRaised: _error,
    Note: _note,
}


def _duration(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 120_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds / 60_000:.1f} min"
