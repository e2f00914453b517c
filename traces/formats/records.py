"""Files of foreign traces as records, within bounds: what others wrote may be hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from agentlab.traces.errors import FormatError
from agentlab.traces.formats.archive import inspect_records
from agentlab.traces.formats.imported import MAX_FILE, Source, is_list_of

MAX_LINE = 64 << 20
"""Bytes of a line of JSON Lines."""
MAX_DEPTH = 100
"""How deep a document may be nested: far more than any format is."""
MAX_MEMORY = 3 << 30
"""Bytes that the values of a document may take once it is read. A packed file of 400 KB can hold 40 million objects."""
_SIZES = ((b"{", 208), (b"[", 72), (b",", 40))
"""What an object, a list and an item more take; texts take little more than what they have in the file."""
MAX_FILES = 100_000
ENDINGS = (".json", ".jsonl", ".traj", ".eval")

Record = tuple[Source, Any]


def files_below(path: Path) -> Iterator[tuple[str, Path]]:
    """The files that may hold traces, by name, each with its name below `path`; a file itself where `path` is one.
    Links that lead out of the folder are not followed. Raises FormatError.
    """
    if not path.is_dir():
        if not path.is_file():
            raise FormatError(str(path), "", "it is no regular file: save it to one first")
        yield path.name, path
        return
    root = path.resolve()
    found = 0
    for file in sorted(path.rglob("*")):
        if not file.name.endswith(ENDINGS) or file.name.startswith(".") or not file.is_file():
            continue
        if not file.resolve().is_relative_to(root):
            continue
        found += 1
        if found > MAX_FILES:
            raise FormatError(str(path), "", f"there are more than {MAX_FILES} files in it: import parts of it")
        yield file.relative_to(path).as_posix(), file


def records(name: str, path: Path, collection: str) -> Iterator[Record | FormatError]:
    """The records of a file with their places: the items of a list, the lines of JSON Lines, the samples of an
    archive, or the whole of it. A line that is no JSON is given as the error that says so. Raises FormatError for a
    file that cannot be read on, and OSError.
    """
    whole = Source(file=name, collection=collection, folder=path.parent)
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            yield from inspect_records(path, whole)
            return
        file.seek(0)
        if name.endswith(".jsonl"):
            yield from _lines(file, whole)
            return
        data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise whole.error(f"it is larger than {MAX_FILE >> 20} MiB: split it, or write it as JSON Lines")
        try:
            document = parsed(data, whole)
        except FormatError:
            first = data.partition(b"\n")[0]
            if len(first) == len(data) or not _is_json(first):
                raise
            file.seek(0)
            yield from _lines(file, whole)
            return
    del data
    if isinstance(document, list) and not is_list_of(document, "role", "content"):
        for place, item in enumerate(document):
            yield _within(whole, f"item {place}"), item
    else:
        yield whole, document


def _lines(file: BinaryIO, whole: Source) -> Iterator[Record | FormatError]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        source = _within(whole, f"line {number}")
        if len(line) > MAX_LINE:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            yield source.error(f"the line is longer than {MAX_LINE >> 20} MiB")
            continue
        if line.isspace():
            continue
        try:
            yield source, parsed(line.rstrip(), source)
        except FormatError as error:
            yield error


def _within(whole: Source, record: str) -> Source:
    return Source(file=whole.file, record=record, collection=whole.stem, folder=whole.folder)


def parsed(data: bytes, source: Source) -> Any:
    """JSON from bytes. Raises FormatError."""
    if len(data) > 1 << 20 and (needed := sum(data.count(sign) * size for sign, size in _SIZES)) > MAX_MEMORY:
        raise source.error(f"it holds so many values that they would take some {needed >> 30} GiB of memory: split it")
    try:
        document = json.loads(data)
    except json.JSONDecodeError as error:
        column = f"column {error.colno}"
        where = column if source.record.startswith("line") else f"line {error.lineno}, {column}"
        raise source.error(f"it is no JSON: {error.msg}", where) from None
    except UnicodeDecodeError as error:
        raise source.error(f"it is no text in UTF-8: byte {error.start}") from None
    except RecursionError:
        raise source.error(f"it is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:  # for example a number of more than 4,300 digits
        raise source.error(f"it cannot be read: {error}") from None
    if too_deep(document):
        raise source.error(f"it is nested deeper than {MAX_DEPTH} levels")
    return document


def too_deep(document: Any) -> bool:
    """Whether `document` is nested deeper than `MAX_DEPTH`. Level by level: it may be deeper than our stack."""
    level = [document] if isinstance(document, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
