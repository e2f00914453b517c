"""Ctrl-C ends a command between two steps of its event loop."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from agentlab.service import event_loop


def test_what_it_waits_for_may_come_at_the_moment_of_the_interrupt() -> None:
    """Cancelled from within the signal's handler, the wait would be over while a callback is about to end it."""
    errors: list[dict[str, Any]] = []
    closed = False

    async def go() -> None:
        nonlocal closed
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        arrived = loop.create_future()

        def arrive() -> None:
            if not arrived.done():
                os.kill(os.getpid(), signal.SIGINT)
                sum(range(1000))
                arrived.set_result(None)

        loop.call_soon(arrive)
        try:
            await arrived
            await asyncio.sleep(60)
        finally:
            closed = True

    with pytest.raises(KeyboardInterrupt):
        event_loop.run(go)
    assert closed and not errors
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_does_not_wait() -> None:
    async def go() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        event_loop.run(go)


def test_what_is_done_in_spite_of_it_counts() -> None:
    async def go(number: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return number
        return 0

    assert event_loop.run(go, 7) == 7
