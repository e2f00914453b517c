"""Events and messages as bytes, and back.

A message is encoded once and known by the hash of its encoding, so that the history of a 50-step attempt is stored
once and not 50 times. An event that carries messages stores references: how much of the attempt's conversation so far
it repeats, then the ids of what is new. Blobs are MessagePack (which keeps NaN and infinities), compressed where that
makes them shorter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import zstandard

from agentlab.traces.errors import StoreError
from agentlab.traces.events import Event, ImagePart, Message, ModelCall, Said, ToolCallEvent, ToolSpec

HASH_BYTES = 16
MAX_BLOB = 256 << 20
"""A blob that claims to unpack to more than this is refused: run directories are copied around, and may be hostile."""

_SHORT = 1024  # bytes below which zstd costs 7 us to save some hundred bytes
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # no MessagePack map or array starts with 0x28, so that no flag is needed
_BIG_INT = 1
_MAX_DEPTH = 200
_SEEN = 512

T = TypeVar("T")

Hash = bytes
KeepArtifact = Callable[[bytes], str]


class Refs(msgspec.Struct, array_like=True, frozen=True):
    """What a model call was made of, relative to the model call before it in the same attempt. Numbers are message
    ids.
    """

    repeated: int = 0
    """So many messages are those the conversation began with already: the previous call's messages, then its
    response.
    """
    messages: tuple[int, ...] = ()
    """The further messages."""
    response: int = 0
    """0: none."""
    tools: int = 0


class History:
    """The conversation of one attempt as far as it is stored: what `Refs.repeated` counts in."""

    __slots__ = ("ids", "messages")

    def __init__(self) -> None:
        self.messages: tuple[Message, ...] = ()
        self.ids: list[int] = []


class RecentMessages:
    """The ids of what was stored lately, by hash. Bounded, in two generations, so that what is asked for again stays.

    Looking further back would take a unique index over hashes in the database. Hashes are scattered, so that every
    commit would rewrite most of its pages (a third of the CPU of a run of 100,000 trials); what is shared, a
    system prompt or worked examples, is asked for all the time and never forgotten here.
    """

    def __init__(self, size: int = 1 << 14) -> None:
        self._size = size
        self._young: dict[Hash, int] = {}
        self._old: dict[Hash, int] = {}

    def get(self, key: Hash) -> int | None:
        """The id of a message; None where it is not known."""
        known = self._young.get(key)
        if known is None and (known := self._old.get(key)) is not None:
            self.add(key, known)
        return known

    def add(self, key: Hash, number: int) -> None:
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[key] = number


def _unsupported(value: object) -> Any:
    return repr(value)


def _extension(code: int, data: memoryview) -> Any:
    return int(bytes(data)) if code == _BIG_INT else msgspec.msgpack.Ext(code, bytes(data))


_encoder = msgspec.msgpack.Encoder(enc_hook=_unsupported)
_event_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event, ext_hook=_extension)
_message_decoder = msgspec.msgpack.Decoder(Message, ext_hook=_extension)
_tools_decoder: msgspec.msgpack.Decoder[tuple[ToolSpec, ...]] = msgspec.msgpack.Decoder(
    tuple[ToolSpec, ...], ext_hook=_extension
)
_refs_encoder = msgspec.msgpack.Encoder()
_refs_decoder = msgspec.msgpack.Decoder(Refs)


def plain(text: str) -> str:
    """`text` as it can be stored: lone surrogates, which no UTF-8 can hold, are written as escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def pack(value: Any) -> bytes:
    """Encode anything that an event may hold. Never fails: models send lone surrogates, huge integers and deep
    nests.
    """
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError, TypeError, ValueError):
        return _encoder.encode(_storable(value, 0))


def _storable(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return "[nested too deeply to be stored]"
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else msgspec.msgpack.Ext(_BIG_INT, str(value).encode())
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        fields = {name: _storable(getattr(value, name), depth + 1) for name in value.__struct_fields__}
        return {config.tag_field: config.tag, **fields} if config.tag_field else fields
    if isinstance(value, Mapping):
        return {plain(str(key)): _storable(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_storable(item, depth + 1) for item in value]
    if value is None or isinstance(value, (float, bytes)):
        return value
    return plain(repr(value))


class Compressor:
    """zstd level 1: within 4 % of level 3 on chat messages at less than half the time. Belongs to one thread."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(
            level=1, write_content_size=True, write_checksum=False, write_dict_id=False
        )

    def shorten(self, blobs: Sequence[bytes]) -> list[bytes]:
        """The blobs, each compressed where that is shorter.

        In one call for all: a call gives the interpreter lock away, and getting it back from a busy event loop takes
        long.
        """
        out = list(blobs)
        long = [index for index, blob in enumerate(blobs) if len(blob) >= _SHORT]
        if not long:
            return out
        packed = self._zstd.multi_compress_to_buffer([blobs[index] for index in long])
        for place, index in enumerate(long):
            segment = packed[place]
            if len(segment) < len(out[index]):
                out[index] = segment.tobytes()
        return out


_decompressor = zstandard.ZstdDecompressor()


def unpacked(blob: bytes) -> bytes:
    """The bytes that were given to `Compressor.shorten`. Raises `StoreError` for a damaged or oversized blob."""
    if not blob.startswith(_ZSTD_MAGIC):
        return blob
    try:
        size = zstandard.frame_content_size(blob)
        if not 0 <= size <= MAX_BLOB:
            raise StoreError(f"a stored blob claims to hold {size} bytes")
        return _decompressor.decompress(blob)
    except zstandard.ZstdError as error:
        raise StoreError(f"a stored blob is damaged: {error}") from error


class Packer:
    """Turns events into rows. Collects the messages and artifacts that are not stored yet; belongs to the writer's
    thread.
    """

    def __init__(self, keep_artifact: KeepArtifact, last_id: int) -> None:
        """`last_id` is the highest message id that is in use, 0 in a new store."""
        self.contents: list[tuple[int, Hash, bytes]] = []
        self._last_id = last_id
        self._keep_artifact = keep_artifact
        self._recent = RecentMessages()
        self._seen: dict[int, tuple[Message, int]] = {}
        self._tools: tuple[ToolSpec, ...] = ()
        self._tools_id = 0

    def event(self, event: Event, history: History) -> tuple[bytes, bytes | None]:
        """The blob of `event` and its references."""
        if isinstance(event, ModelCall):
            return self._model_call(event, history)
        if isinstance(event, ToolCallEvent) and event.result.images:
            images = tuple(self._image(image) for image in event.result.images)
            result = msgspec.structs.replace(event.result, images=images)
            event = msgspec.structs.replace(event, result=result)
        elif isinstance(event, Said) and not isinstance(event.message.content, str):
            event = msgspec.structs.replace(event, message=self._with_images_kept(event.message))
        return pack(event), None

    def _model_call(self, call: ModelCall, history: History) -> tuple[bytes, bytes]:
        sent = call.messages
        repeated = _common(sent, history.messages)
        ids = history.ids[:repeated]
        ids += [self._shared(message) for message in sent[repeated:]]
        # A caller that rebuilds its messages for each call gives equal ones that are not the same objects.
        while repeated < min(len(ids), len(history.ids)) and ids[repeated] == history.ids[repeated]:
            repeated += 1
        response = 0 if call.response is None else self._message(call.response)
        refs = Refs(repeated, tuple(ids[repeated:]), response, self._tool_specs(call.tools))
        history.messages = sent if call.response is None else (*sent, call.response)
        history.ids = [*ids, response] if response else ids
        bare = msgspec.structs.replace(call, messages=(), tools=(), response=None)
        return pack(bare), _refs_encoder.encode(refs)

    def _tool_specs(self, tools: tuple[ToolSpec, ...]) -> int:
        if not tools:
            return 0
        if tools is not self._tools:
            self._tools, self._tools_id = tools, self._keep(pack(tools))
        return self._tools_id

    def _shared(self, message: Message) -> int:
        """The id of a message that other attempts may send too, as they do a system prompt or worked examples."""
        known = self._seen.get(id(message))
        if known is not None:
            return known[1]
        number = self._message(message)
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen[id(message)] = (message, number)  # holds the message, so that its id stays its own
        return number

    def _message(self, message: Message) -> int:
        return self._keep(pack(self._with_images_kept(message)))

    def _with_images_kept(self, message: Message) -> Message:
        """`message` with its images in the artifacts, named by their hashes."""
        if isinstance(message.content, str):
            return message
        parts = tuple(self._image(part) if isinstance(part, ImagePart) else part for part in message.content)
        return msgspec.structs.replace(message, content=parts)

    def _image(self, image: ImagePart) -> ImagePart:
        return ImagePart(image.media_type, sha256=self._keep_artifact(image.data)) if image.data else image

    def _keep(self, encoded: bytes) -> int:
        digest = hashlib.blake2b(encoded, digest_size=HASH_BYTES).digest()
        known = self._recent.get(digest)
        if known is not None:
            return known
        self._last_id += 1
        self._recent.add(digest, self._last_id)
        self.contents.append((self._last_id, digest, encoded))
        return self._last_id


def _common(first: Sequence[object], second: Sequence[object]) -> int:
    """How many objects two sequences begin with together."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one is not other:
            break
        count += 1
    return count


def decode_event(blob: bytes) -> Event:
    """The event of a blob; a model call comes without its messages. Raises `StoreError`."""
    return _decode(_event_decoder, unpacked(blob))


def decode_message(blob: bytes) -> Message:
    return _decode(_message_decoder, unpacked(blob))


def decode_tools(blob: bytes) -> tuple[ToolSpec, ...]:
    return _decode(_tools_decoder, unpacked(blob))


def decode_refs(blob: bytes) -> Refs:
    return _decode(_refs_decoder, blob)


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise StoreError(f"a stored record cannot be read: {error}") from error
