"""Iterators of the other side. Runs inside the box.

Every item is a request, some milliseconds there and back. So once a test has taken a run of items and done nothing else
meanwhile, the next ones come many at a time; an iterator that calls the test, or is slow, never gets that far ahead.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from agentlab.tasks.scorers.programs.box.observing import kept
from agentlab.tasks.scorers.programs.box.proxies import Forward, Link, is_remote

RUN = 16
"""Items taken one by one before any is fetched ahead."""
MAX_AHEAD = 1024
MAX_SECONDS = 0.02
_SMALL = (int, float, bool, type(None))


class Ahead:
    """What was fetched of an iterator and not yet taken."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.end: BaseException | None = None
        self.run = 0
        self.last = -1
        """The number of requests, of both sides, when the last item came."""

    def fetch(self, link: Link, iterator: Any) -> None:
        """Have more items come, as many as the run so far allows."""
        if link.traffic != self.last:
            self.run = 0
        if self.run < RUN:
            self.items.append(link.ask("special", iterator, "__next__", ()))
        else:
            items, end = link.ask("ahead", iterator, min(self.run, MAX_AHEAD))
            if type(items) is not list or is_remote(end) or not isinstance(end, (BaseException, type(None))):
                raise TypeError("the program sent no items of an iterator")
            self.items.extend(items)
            self.end = end
        self.run += len(self.items)
        self.last = link.traffic


def stepping(link: Link) -> Forward:
    """`__next__` of an iterator of the other side."""

    def special(self: Any) -> Any:
        ahead = kept(self).setdefault("ahead", Ahead())
        if not ahead.items and ahead.end is None:
            ahead.fetch(link, self)
        if ahead.items:
            return ahead.items.popleft()
        end, ahead.end = ahead.end, None
        raise StopIteration if end is None else end

    return special


def taken(iterator: Any, most: int) -> tuple[list[Any], BaseException | None]:
    """Some items of an iterator of this side, at least one where there is one, and what it raised after the last."""
    items: list[Any] = []
    until = time.monotonic() + MAX_SECONDS
    while len(items) < most:
        try:
            items.append(next(iterator))
        except Exception as end:  # noqa: BLE001 - StopIteration too: it belongs after these items
            return items, end
        if time.monotonic() > until or not _is_small(items[-1]):
            break
    return items, None


def _is_small(item: Any) -> bool:
    """Whether many such items fit into one frame."""
    kind = type(item)
    if kind is tuple:
        return len(item) <= 10 and all(type(part) in _SMALL for part in item)
    return kind in _SMALL or (kind is str and len(item) <= 1000)
