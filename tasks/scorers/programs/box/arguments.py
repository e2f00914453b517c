"""What a call does to the lists, dicts and sets that it was given. Runs inside the box.

Arguments cross by value. A function that works in place says so by returning None, as `list.sort` does; then what has
changed is told to the side that called, which changes its own containers likewise. A function that returns something
gets copies for good: a test that compares the result with the argument must not find both of the program's making.
"""

from __future__ import annotations

import operator
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any

_LISTS = (list, deque, bytearray)
_DICTS = (dict, OrderedDict, Counter, defaultdict)
_USERS = (UserDict, UserList)
_CONTAINERS = frozenset((*_LISTS, *_DICTS, *_USERS, set))
_LOOKED_INTO = _CONTAINERS | {tuple}


def containers(values: Iterable[Any]) -> list[Any]:
    """The containers in `values`, at any depth, in the order in which both sides meet them."""
    found: list[Any] = []
    left = list(values)[::-1]
    while left:
        value = left.pop()
        kind = type(value)
        if kind not in _LOOKED_INTO:
            continue
        if kind is not tuple:
            found.append(value)
        inside = _values(value)
        if not _LOOKED_INTO.isdisjoint(map(type, inside)):
            left.extend(list(inside)[::-1])
    return found


def _values(container: Any) -> Iterable[Any]:
    kind = type(container)
    if kind in (set, bytearray):
        return ()
    return (container.data,) if kind in _USERS else container.values() if kind in _DICTS else container


def _content(container: Any) -> list[Any]:
    """What a container holds, flat: of a dict each key, then its value."""
    kind = type(container)
    if kind in _USERS:
        return []  # what it holds is a container itself
    return [part for pair in container.items() for part in pair] if kind in _DICTS else list(container)


class Before:
    """The containers of a call's arguments and what they held."""

    def __init__(self, args: Iterable[Any]) -> None:
        self._containers = containers(args)
        self._held = [_content(container) for container in self._containers]

    def changed(self, pack: Callable[[Any], Any]) -> list[list[Any]]:
        """[number, what it holds now] of each that holds something else; containers inside by their number."""
        numbers = {id(container): number for number, container in enumerate(self._containers)}
        found: list[list[Any]] = []
        for number, container in enumerate(self._containers):
            now, held = _content(container), self._held[number]
            if len(now) == len(held) and all(map(operator.is_, now, held)):
                continue
            found.append([number, [["m", numbers[id(x)]] if id(x) in numbers else pack(x) for x in now]])
        return found


def take_over(args: Iterable[Any], changed: list[Any], unpack: Callable[[Any], Any]) -> None:
    """Change the containers of `args` as the other side's copies have changed. Raises for what makes no sense."""
    own = containers(args)
    for number, content in changed:
        parts = [
            own[part[1]] if type(part) is list and part[:1] == ["m"] else unpack(part)
            for part in content  # first all of it: nothing is changed by a frame that makes no sense
        ]
        _fill(own[number], parts)


def _fill(container: Any, parts: list[Any]) -> None:
    kind = type(container)
    if kind in _USERS:
        raise ValueError("a container that holds another one")
    if kind in _DICTS:
        pairs = dict(zip(parts[::2], parts[1::2], strict=True))
        container.clear()
        container.update(pairs) if kind is not Counter else dict.update(container, pairs)
    elif kind is set:
        container.clear()
        container.update(parts)
    else:
        filled = kind(parts)
        container.clear()
        container.extend(filled)
