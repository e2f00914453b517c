"""The archives that Inspect writes: a zip of `header.json` and one JSON file a sample, mostly packed by zstd, which
Python 3.11 does not unpack by itself.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from agentlab.traces.errors import FormatError
from agentlab.traces.formats.imported import Source

MAX_MEMBERS = 200_000
MAX_MEMBER = 256 << 20
"""Bytes of an unpacked member."""
MAX_TOTAL = 16 << 30
"""Bytes of all members that are read of one archive."""

_STORED, _DEFLATED, _ZSTD = 0, 8, 93
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


def inspect_records(path: Path, whole: Source) -> Iterator[tuple[Source, Any] | FormatError]:
    """For each sample a record in the form of an Inspect log with this one sample. Raises FormatError where the archive
    itself is broken, or is no log.
    """
    from agentlab.traces.formats.records import parsed

    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            members: dict[str, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                if info.filename in members:
                    yield _member(whole, info.filename).error("the archive holds it twice: the last one is read")
                members[info.filename] = info
            head = members.get("header.json") or members.get("_journal/start.json")
            if head is None:
                raise whole.error("the archive holds no header.json: it is no Inspect log")
            if len(members) > MAX_MEMBERS:
                raise whole.error(f"the archive has more than {MAX_MEMBERS} members")
            header = parsed(_unpacked(file, head, whole), _member(whole, head.filename))
            if not isinstance(header, dict):
                raise whole.error("an object is expected", head.filename)
            left = MAX_TOTAL
            for name in sorted(members, key=_in_order):
                if not name.startswith("samples/") or not name.endswith(".json"):
                    continue
                source = _member(whole, name)
                try:
                    data = _unpacked(file, members[name], source)
                    sample = parsed(data, source)
                except FormatError as error:
                    yield error
                    continue
                left -= len(data)
                if left < 0:
                    raise source.error(f"the samples unpack to more than {MAX_TOTAL >> 30} GiB")
                yield source, {**header, "samples": [sample]}
                header = {"eval": header.get("eval")}  # what is said of the whole log is said once
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:  # the last two: of damaged fields
        raise whole.error(f"the archive is damaged: {error}") from None


def _member(whole: Source, name: str) -> Source:
    return Source(file=whole.file, record=name, collection=whole.stem, folder=whole.folder)


def _in_order(name: str) -> tuple[int, int | str, str]:
    """By epoch, then by the sample's number where it has one: `samples/12_epoch_1.json`."""
    sample, _, epoch = name.removesuffix(".json").rpartition("/")[2].rpartition("_epoch_")
    number = int(epoch) if epoch.isdecimal() else 0
    return (number, f"{int(sample):020d}" if sample.isdecimal() else sample, name)


def _unpacked(file: BinaryIO, info: zipfile.ZipInfo, source: Source) -> bytes:
    """A member's bytes, never more than `MAX_MEMBER`, whatever the archive claims. Raises FormatError."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or info.flag_bits & 0x1:
        raise source.error("the archive is damaged or encrypted", info.filename)
    *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    file.seek(name_length + extra_length, 1)
    if info.compress_size > MAX_MEMBER:
        raise source.error(f"it is larger than {MAX_MEMBER >> 20} MiB", info.filename)
    packed = file.read(info.compress_size)
    try:
        data = _inflate(packed, info.compress_type)
    except (zlib.error, zstandard.ZstdError) as error:
        raise source.error(f"it cannot be unpacked: {error}", info.filename) from None
    if data is None:
        raise source.error(f"it is packed by method {info.compress_type}, which is not known here", info.filename)
    if len(data) > MAX_MEMBER:
        raise source.error(f"it unpacks to more than {MAX_MEMBER >> 20} MiB", info.filename)
    if zlib.crc32(data) != info.CRC:
        raise source.error("its check sum is wrong: the archive is damaged", info.filename)
    return data


def _inflate(packed: bytes, method: int) -> bytes | None:
    if method == _STORED:
        return packed
    if method == _DEFLATED:
        return zlib.decompressobj(-15).decompress(packed, MAX_MEMBER + 1)
    if method == _ZSTD:
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        with unpacker.stream_reader(packed, read_across_frames=True) as reader:
            return reader.read(MAX_MEMBER + 1)
    return None
