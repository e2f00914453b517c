"""Putting the messages back into the model calls of one attempt, from the references that the store keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

import msgspec

from agentlab.traces.encoding import decode_message, decode_refs, decode_tools
from agentlab.traces.errors import StoreError
from agentlab.traces.events import Event, ImagePart, Message, ModelCall, Said, ToolCallEvent, ToolSpec

ReadArtifact = Callable[[str], bytes]
_PER_QUERY = 500


class Conversation:
    """Follows the model calls of one attempt in order; each message is read and decoded once."""

    def __init__(self, connection: sqlite3.Connection, read_artifact: ReadArtifact | None) -> None:
        self._connection = connection
        self._read_artifact = read_artifact
        self._ids: list[int] = []
        self._messages: dict[int, Message] = {}
        self._tools: dict[int, tuple[ToolSpec, ...]] = {0: ()}

    def filled(self, call: ModelCall, refs_blob: bytes) -> ModelCall:
        """`call` with its messages, tools and response. Raises `StoreError` where one is missing."""
        refs = decode_refs(refs_blob)
        sent = [*self._ids[: refs.repeated], *refs.messages]
        self._ids = [*sent, refs.response] if refs.response else sent
        self._read(self._ids)
        if refs.tools not in self._tools:
            self._tools[refs.tools] = decode_tools(self._blobs([refs.tools])[refs.tools])
        return msgspec.structs.replace(
            call,
            messages=tuple(self._messages[key] for key in sent),
            tools=self._tools[refs.tools],
            response=self._messages[refs.response] if refs.response else None,
        )

    def with_images(self, event: Event) -> Event:
        """`event` with the bytes of its images, where they were asked for."""
        if isinstance(event, Said):
            return msgspec.structs.replace(event, message=self._with_content(event.message))
        if self._read_artifact is None or not isinstance(event, ToolCallEvent) or not event.result.images:
            return event
        images = tuple(self._image(image) for image in event.result.images)
        return msgspec.structs.replace(event, result=msgspec.structs.replace(event.result, images=images))

    def _read(self, keys: Iterable[int]) -> None:
        missing = [key for key in dict.fromkeys(keys) if key not in self._messages]
        for key, blob in self._blobs(missing).items():
            self._messages[key] = self._with_content(decode_message(blob))

    def _blobs(self, keys: list[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for start in range(0, len(keys), _PER_QUERY):
            part = keys[start : start + _PER_QUERY]
            query = f"SELECT id, blob FROM messages WHERE id IN ({','.join('?' * len(part))})"  # noqa: S608 - placeholders
            found.update(self._connection.execute(query, part))
        if len(found) < len(set(keys)):
            raise StoreError("a message that a model call refers to is missing from run.db")
        return found

    def _with_content(self, message: Message) -> Message:
        if self._read_artifact is None or isinstance(message.content, str):
            return message
        parts = tuple(self._image(part) if isinstance(part, ImagePart) else part for part in message.content)
        return msgspec.structs.replace(message, content=parts)

    def _image(self, image: ImagePart) -> ImagePart:
        if self._read_artifact is None or not image.sha256:
            return image
        data = self._read_artifact(image.sha256)
        return ImagePart(image.media_type, data=data) if data else image
