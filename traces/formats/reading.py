"""Which format a record has, and reading whole files and folders of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentlab.traces.errors import FormatError
from agentlab.traces.formats import agentrx, atif, inspect, openai_chat, sweagent, taubench, whowhen
from agentlab.traces.formats.imported import ImportedTrace, Source
from agentlab.traces.formats.records import files_below, records

_MODULES = (atif, inspect, sweagent, whowhen, agentrx, taubench, openai_chat)  # in the order in which they are asked
FORMATS: tuple[str, ...] = tuple(module.NAME for module in _MODULES)
_READ: dict[str, Callable[[Any, Source], Iterator[ImportedTrace]]] = {module.NAME: module.read for module in _MODULES}

_LISTS = (openai_chat.NAME, sweagent.NAME)

OnBroken = Callable[[FormatError], None]


def read_traces(
    path: Path,
    *,
    format_name: str = "",
    on_broken: OnBroken | None = None,
    on_unknown: OnBroken | None = None,
) -> Iterator[ImportedTrace]:
    """The traces of a file, or of all files below a folder, in the order of their names.

    `format_name` is one of `FORMATS`; without it each record's format is found by its fields. A broken record goes to
    `on_broken` and is left out, without one it raises FormatError; a record of a folder that looks like no trace at all
    goes to `on_unknown`. Raises FormatError.
    """
    if not path.exists():
        raise FormatError(str(path), "", "there is no such file or folder")
    broken = _raise if on_broken is None else on_broken
    unknown = on_unknown if on_unknown is not None and path.is_dir() else broken
    collection = path.resolve().name if path.is_dir() else Source(file=path.name).stem
    for name, file in files_below(path):
        try:
            for item in records(name, file, collection):
                if isinstance(item, FormatError):
                    broken(item)
                    continue
                yield from _traces(item[1], item[0], format_name, broken, unknown)
        except FormatError as error:
            broken(error)
        except OSError as error:
            broken(FormatError(name, "", f"it cannot be read: {error.strerror or error}"))


def _traces(
    record: Any, source: Source, format_name: str, broken: OnBroken, unknown: OnBroken
) -> Iterator[ImportedTrace]:
    name = format_name or detected(record)
    if not name:
        known = ", ".join(FORMATS)
        if agentrx.are_labels(record):
            unknown(source.error("these are AgentRx's labels of its runs: give the file with --labels"))
            return
        unknown(source.error(f"this looks like no trace of a known format ({known}); name it with --format"))
        return
    try:
        for where, part in _parts(record, name, source):
            try:
                yield from _READ[name](part, where)
            except FormatError as error:
                broken(error)
    except FormatError as error:
        broken(error)


def _parts(record: Any, name: str, source: Source) -> Iterator[tuple[Source, Any]]:
    """What a reader may look into: an object, also a list of messages where there are such files; of a log each sample.
    Raises FormatError.
    """
    if isinstance(record, dict) and name == inspect.NAME:
        yield from inspect.split(record, source)
    elif isinstance(record, dict) or (isinstance(record, list) and name in _LISTS):
        yield source, record
    else:
        raise source.error(f"an object is expected where {name} is read")


def detected(record: Any) -> str:
    """The name of the format that a record has by its fields; empty for none."""
    return next((module.NAME for module in _MODULES if module.matches(record)), "")


def _raise(error: FormatError) -> None:
    raise error
