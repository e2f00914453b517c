"""What was seen of an object of the other side, so that it is one thing and not several. Runs inside the box.

A test may look at a result more than once: walk through it, ask for its length, take one item. A program's own class
could answer each look as that look alone would like it. So what was seen holds until a request is made that may change
something: a second walk sees what the first one saw, and an item or a length that contradicts it is a TypeError.
"""

from __future__ import annotations

from typing import Any

from agentlab.tasks.scorers.programs.box.proxies import Forward, Link, is_remote

CONTRADICTION = "an object of the program holds another item than it said"


class Seen:
    """What was seen of one object since the last request that may have changed it."""

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.source: Any = None
        self.items: list[Any] = []
        """What a walk has seen, from the first item on."""
        self.complete = False
        self.by_index: dict[int, Any] = {}

    def take(self, index: int, item: Any) -> Any:
        """The item that was asked for by its number; TypeError where another one was seen there."""
        found = self.by_index.setdefault(index, item)
        if not same(found, item):
            raise TypeError(CONTRADICTION)
        if self.complete:
            self._compare(index)
        return self.items[index] if self.complete and index < len(self.items) and is_remote(item) else found

    def end(self) -> None:
        """A walk came to its end: now items by number can be told from values by key."""
        self.complete = True
        for index in self.by_index:
            self._compare(index)

    def end_at(self, index: int) -> None:
        """There is no item at `index`; where all before it were seen one by one, that was a walk."""
        if not self.complete and all(before in self.by_index for before in range(index)):
            self.items = [self.by_index[before] for before in range(index)]
            self.end()

    def _compare(self, index: int) -> None:
        fits = index < len(self.items) and same(self.items[index], self.by_index[index])
        if not fits and not any(type(item) is int and item == index for item in self.items):  # else it is a key
            raise TypeError(CONTRADICTION)


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
                memory.items.append(next(memory.source))
            except StopIteration:
                memory.end()
                raise
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


def judging(link: Link) -> Forward:
    """`__bool__` of a class that can be walked through: what holds an item is not nothing."""

    def special(self: Any) -> Any:
        holds = link.ask("special", self, "__bool__", ())
        if not holds and seen(link, self).items:
            raise TypeError("an object of the program holds items and says that it is empty")
        return holds

    return special


def taking(link: Link) -> Forward:
    """`__getitem__` of a class that is a sequence: it can be walked through, and has no keys."""

    def special(self: Any, key: Any) -> Any:
        memory = seen(link, self)
        try:
            item = link.ask("special", self, "__getitem__", (key,))
        except IndexError:
            if type(key) is int and key >= 0:
                memory.end_at(key)
            raise
        if type(key) is not int:
            return item
        index = key + len(memory.items) if key < 0 and memory.complete else key
        return item if index < 0 else memory.take(index, item)

    return special
