"""What is different between two identities, in words: for who is refused a resume, and wants to know what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, TypeGuard

_UNSET = object()
_DIGESTS = {
    "samples.digest": "the samples have changed",
    "fewshot.examples": "the few-shot examples have changed",
    "drawn": "another part of the samples would be drawn",
}
"""Fields that are digests: two of them side by side tell nobody anything."""
WIDTH = 100


def diff_payloads(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed, a line each: `prompt: "a" -> "b"`, `the samples have changed`."""
    return list(_differences("", old, new))


def in_words(value: Any) -> str:
    """A value as it would be typed, in one line: text in quotes, `none`, `not set`."""
    if value is _UNSET:
        return "not set"
    return "none" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys((*old, *new)):
            yield from _differences(f"{path}.{key}" if path else str(key), old.get(key, _UNSET), new.get(key, _UNSET))
    elif _are_records(old) and _are_records(new):
        labels, others = _labels(old), _labels(new)
        if labels != others:
            yield f"{path}: {', '.join(labels)} -> {', '.join(others)}"
            return
        for label, one, other in zip(labels, old, new, strict=True):
            yield from _differences(f"{path}.{label}", one, other)
    else:
        before, after = in_words(old), in_words(new)
        if before != after:
            yield _sentence(path, before, after)


def _are_records(value: Any) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _labels(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the records are called, by number where they have no names of their own."""
    names = [record.get("name") for record in records]
    return [str(name if name and names.count(name) == 1 else place) for place, name in enumerate(names, 1)]


def _sentence(path: str, before: str, after: str) -> str:
    if path in _DIGESTS:
        return _DIGESTS[path]
    if path.endswith("sha256"):
        return f"the bytes of {path.rpartition('.')[0] or 'the data'} have changed"
    # Long texts are shown from shortly before the place where they part.
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    start = max(same - WIDTH // 4, 0) if max(len(before), len(after)) > WIDTH else 0
    return f"{path}: {_window(before, start)} -> {_window(after, start)}"


def _window(text: str, start: int) -> str:
    shown = f"...{text[start:]}" if start else text
    return shown if len(shown) <= WIDTH else f"{shown[: WIDTH - 3]}..."
