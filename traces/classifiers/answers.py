"""Rows to classify: a prompt and what was answered, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from agentlab.traces.classifiers.errors import RowError

MOST_BYTES = 8_000_000
"""The longest line that is read: a file may hold anything."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to a prompt. `should_refuse` says what would have been right, where somebody knows."""

    id: str
    prompt: str
    response: str
    should_refuse: bool | None = None


def read_answers(lines: Iterable[bytes], name: str) -> Iterator[Answer]:
    """The rows of JSON Lines, empty lines skipped. A number as id is taken as text. Raises RowError with the line."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        if len(line) > MOST_BYTES:
            raise RowError(f"{where}: the line is longer than {MOST_BYTES // 1_000_000} MB")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = "a row is a JSON object on one line, with id, prompt and response"
            raise RowError(f"{where}: this is no JSON ({error}): {reason}") from None
        yield _answer(row, where)


def _answer(row: Any, where: str) -> Answer:
    if not isinstance(row, dict):
        raise RowError(f"{where}: a row is an object with id, prompt and response")
    for field in ("id", "prompt", "response"):
        if field not in row:
            raise RowError(f"{where}: the row has no {field!r}")
        if not isinstance(row[field], str) and (field != "id" or not isinstance(row[field], int)):
            raise RowError(f"{where}: {field!r} is no text")
    wanted = row.get("should_refuse")
    if wanted is not None and not isinstance(wanted, bool):
        raise RowError(f"{where}: 'should_refuse' is true, false or null")
    return Answer(id=str(row["id"]), prompt=row["prompt"], response=row["response"], should_refuse=wanted)
