"""Carrying out many trials at once, no more than there is room for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from agentlab.sandboxes.pool import Pool

PLAIN_AT_ONCE = 8
"""Trials at once where none needs a box."""

Item = TypeVar("Item")


async def each(carry_out: Callable[[Item], Awaitable[None]], items: Iterable[Item], pool: Pool | None) -> None:
    """Await `carry_out` for every item, one more at once than boxes may be in use, so that no box waits."""
    queue = iter(items)

    async def work(queue: Iterator[Item]) -> None:
        for item in queue:
            await carry_out(item)

    async with anyio.create_task_group() as group:
        for _ in range(pool.room.boxes + 1 if pool is not None else PLAIN_AT_ONCE):
            group.start_soon(work, queue)
