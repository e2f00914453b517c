"""Streamed answers: server-sent events put together to the same `ChatResponse` that an unstreamed answer gives."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any, Protocol

import msgspec

from agentlab.models.protocol import ChatResponse, ModelError
from agentlab.models.replies import (
    WireChat,
    WireChoice,
    WireFunction,
    WireMessage,
    WireTextChoice,
    WireToolCall,
    WireUsage,
    chat_response,
    completion_response,
    decode,
    error_status,
    read_chat,
    read_completion,
)
from agentlab.models.retry import status_error


class StreamedAnswer(Protocol):
    """Takes the bytes of a stream as they come, and gives the whole answer once they ended."""

    def feed(self, chunk: bytes) -> None: ...

    def finish(self) -> Any:
        """The answer. Raises `ModelError`: `connection` (retryable) where the stream broke off before its end."""
        ...


class WireDelta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCall] | None = None


class WireChunkChoice(msgspec.Struct):
    delta: WireDelta | None = None
    message: WireDelta | None = None
    """The whole answer at once, from servers that stream in form only."""
    text: str | None = None
    finish_reason: str | None = None
    index: int = 0


class WireChunk(msgspec.Struct):
    choices: list[WireChunkChoice] | None = None
    usage: WireUsage | None = None
    id: Any = ""
    model: Any = ""
    error: Any = None


_CHUNK = msgspec.json.Decoder(WireChunk)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""May open a stream (WHATWG HTML, 9.2.5), and is no part of its first line."""


class _Stream(ABC):
    """What chat and completion streams share: splitting into events, the first token's time, and whether the end was
    seen.
    """

    def __init__(self, started: float, *, split_thinking: bool = True) -> None:
        self._started = started
        self._split_thinking = split_thinking
        self._begun: list[bytes] = []
        """A line that has no end yet, in pieces: joining them at each piece would be quadratic."""
        self._unframed: list[bytes] = []
        self._done = False
        self.ttft_ms: float | None = None
        self.finish_reason: str | None = None
        self.usage: WireUsage | None = None
        self.id: Any = ""
        self.model: Any = ""

    def feed(self, chunk: bytes) -> None:
        first, *lines = chunk.split(b"\n")
        self._begun.append(first)
        if not lines:
            return
        self._line(b"".join(self._begun).removeprefix(_BYTE_ORDER_MARK))
        self._begun = [lines.pop()]
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            # Comments, event names and empty lines carry nothing; anything else is a body that is no stream.
            if self._unframed or line.startswith(b"{"):
                self._unframed.append(line)
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self._done = True
            return
        if not data or self._done:
            return
        event = decode(_CHUNK, data)
        if event.error:
            # The status was already 200 when the answer failed.
            raise status_error(error_status(data) or 500, data, where="in the stream")
        self.usage = event.usage or self.usage
        self.id = self.id or event.id
        self.model = self.model or event.model
        for choice in event.choices or ():
            if choice.index == 0:
                self.finish_reason = choice.finish_reason or self.finish_reason
                if self._take(choice) and self.ttft_ms is None:
                    self.ttft_ms = (time.perf_counter() - self._started) * 1e3

    @abstractmethod
    def _take(self, choice: WireChunkChoice) -> bool:
        """Keep what the chunk brings; True where it is part of the answer."""

    def _check_end(self) -> bytes:
        """Raise where the stream was cut; the whole body where the server does not stream at all, else nothing."""
        if begun := b"".join(self._begun):
            self._line(begun)
        if self._unframed:
            return b"\n".join(self._unframed)
        # Some servers leave out `[DONE]`, some the finish reason; a stream with neither was cut.
        if not self._done and self.finish_reason is None:
            raise ModelError("connection", "the stream broke off before the end of the answer", retryable=True)
        return b""


class ChatStream(_Stream):
    """A streamed chat answer."""

    def __init__(self, started: float, *, split_thinking: bool = True) -> None:
        super().__init__(started, split_thinking=split_thinking)
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[int, list[_PartialCall]] = {}
        """By index; several where a server gives all of them the same one, or none."""
        self._some = False

    def finish(self) -> ChatResponse:
        if body := self._check_end():
            return read_chat(body, split_thinking=self._split_thinking)
        calls = [call.whole() for index in sorted(self._calls) for call in self._calls[index]]
        message = WireMessage(
            content="".join(self._content) or (None if calls else ""),
            tool_calls=calls or None,
            reasoning_content="".join(self._reasoning) or None,
            refusal="".join(self._refusal) or None,
        )
        choice = WireChoice(message=message, finish_reason=self.finish_reason)
        wire = WireChat(choices=[choice], usage=self.usage, id=self.id, model=self.model)
        response = chat_response(wire, split_thinking=self._split_thinking)
        return msgspec.structs.replace(response, ttft_ms=self.ttft_ms)

    def _take(self, choice: WireChunkChoice) -> bool:
        delta = choice.delta
        if delta is None and not self._some:
            delta = choice.message
        if delta is None:
            return False
        thought = delta.reasoning_content or delta.reasoning
        if delta.content:
            self._content.append(delta.content)
        if thought:
            self._reasoning.append(thought)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for position, part in enumerate(delta.tool_calls or ()):
            index = position if part.index is None else part.index
            calls = self._calls.setdefault(index, [])
            if not calls or calls[-1].is_followed_by(part):
                calls.append(_PartialCall())
            calls[-1].add(part)
        told = bool(delta.content or thought or delta.refusal or delta.tool_calls)
        self._some = self._some or told
        return told


class CompletionStream(_Stream):
    """A streamed completion of a raw prompt."""

    def __init__(self, started: float, *, split_thinking: bool = True) -> None:
        super().__init__(started, split_thinking=split_thinking)
        self._text: list[str] = []

    def finish(self) -> ChatResponse:
        if body := self._check_end():
            return read_completion(body, split_thinking=self._split_thinking)
        choice = WireTextChoice(text="".join(self._text), finish_reason=self.finish_reason)
        response = completion_response(choice, self.usage, self.id, self.model, split_thinking=self._split_thinking)
        return msgspec.structs.replace(response, ttft_ms=self.ttft_ms)

    def _take(self, choice: WireChunkChoice) -> bool:
        if choice.text:
            self._text.append(choice.text)
        return bool(choice.text)


class _PartialCall:
    """A tool call whose arguments come in pieces."""

    def __init__(self) -> None:
        self._id = ""
        self._name = ""
        self._arguments: list[str] = []
        self._object: Any = None

    def is_followed_by(self, part: WireToolCall) -> bool:
        """Whether `part` begins another call: it has a name, and an id that is not this one's."""
        named = part.function is not None and part.function.name
        return bool(named and self._name and part.id and self._id and part.id != self._id)

    def add(self, part: WireToolCall) -> None:
        self._id = self._id or part.id or ""
        if part.function is None:
            return
        self._name = self._name or part.function.name or ""
        if isinstance(part.function.arguments, str):
            self._arguments.append(part.function.arguments)
        elif part.function.arguments is not None:
            self._object = part.function.arguments

    def whole(self) -> WireToolCall:
        arguments = self._object if self._object is not None else "".join(self._arguments)
        return WireToolCall(function=WireFunction(name=self._name, arguments=arguments), id=self._id)
