"""What was seen of an object of the other side, so that it is one thing and not several. Runs inside the box.

A test may look at a result more than once: walk through it, ask for its length, take one item. A program's own class
could answer each look as that look alone would like it. So what was seen holds until a request is made that may change
something: a second walk sees what the first one saw, and an item or a length that contradicts it is a TypeError.
"""

from __future__ import annotations

from typing import Any

from agentlab.tasks.scorers.programs.box.proxies import Forward, Link, is_remote


class Seen:
    """What was seen of one object since the last request that may have changed it."""

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.source: Any = None
        self.items: list[Any] = []
        self.complete = False
        self.by_index: dict[int, Any] = {}


def kept(stand_in: Any) -> dict[str, Any]:
    """What this side remembers about a stand-in."""
    try:
        found: dict[str, Any] = object.__getattribute__(stand_in, "_bridge_kept_")
    except AttributeError:
        found = {}
        object.__setattr__(stand_in, "_bridge_kept_", found)
    return found


def seen(link: Link, stand_in: Any) -> Seen:
    """The memory of an object; a new one after a change."""
    memory = kept(stand_in).get("seen")
    if memory is None or memory.changes != link.changes:
        memory = kept(stand_in)["seen"] = Seen(link.changes)
    return memory


def same(one: Any, other: Any) -> bool:
    """Whether two looks at one thing agree; two handles may be two views of it."""
    if one is other or (is_remote(one) and is_remote(other)):
        return True
    return type(one) is type(other) and bool(one == other or repr(one) == repr(other))  # not a number is itself


class Walk:
    """An iterator that sees again what another walk has seen, and goes on from there."""

    def __init__(self, memory: Seen) -> None:
        self._memory = memory
        self._position = 0

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> Any:
        memory = self._memory
        if self._position == len(memory.items):
            if memory.complete:
                raise StopIteration
            try:
                item = next(memory.source)
            except StopIteration:
                memory.complete = True
                raise
            if not same(memory.by_index.get(len(memory.items), item), item):
                raise TypeError("an object of the program holds another item than it said")
            memory.items.append(item)
        self._position += 1
        return memory.items[self._position - 1]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory.source, name)


def walking(link: Link) -> Forward:
    """`__iter__` of a class whose objects are no iterators themselves."""

    def special(self: Any) -> Any:
        memory = seen(link, self)
        if memory.source is None:
            source = link.ask("special", self, "__iter__", ())
            if source is self:
                return self
            memory.source = source
        return Walk(memory)

    return special


def measuring(link: Link) -> Forward:
    """`__len__` of a class that can be walked through."""

    def special(self: Any) -> Any:
        length = link.ask("special", self, "__len__", ())
        memory = seen(link, self)
        if memory.complete and length != len(memory.items):
            raise TypeError("an object of the program has another length than it has items")
        return length

    return special


def taking(link: Link) -> Forward:
    """`__getitem__` of a class that is a sequence: it has a length, items, and no keys."""

    def special(self: Any, key: Any) -> Any:
        item = link.ask("special", self, "__getitem__", (key,))
        if type(key) is not int:
            return item
        memory = seen(link, self)
        index = key + len(memory.items) if key < 0 and memory.complete else key
        found = memory.items[index] if 0 <= index < len(memory.items) else memory.by_index.setdefault(index, item)
        if not same(found, item):
            raise TypeError("an object of the program holds another item than it said")
        return found

    return special
