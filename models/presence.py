"""Whether an endpoint is still there, and of any use. One that died costs every further call all of its retries, so
after some calls that met nobody it is looked for once, and given up where nobody opens. One that has never answered
anything but a refusal (a wrong key, a wrong address) will refuse all further calls too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agentlab.models.protocol import ModelError

LOST_CALLS = 5
"""Calls in a row, each with its retries, that end without any answer before the endpoint is looked for."""
REFUSED_CALLS = 5
"""Calls that are refused, with no good answer before them, until no further one is worth asking."""
_REFUSALS = frozenset({"auth", "not_found", "bad_response"})


class Departures:
    """Shared by all clients of a run: which endpoint was given up, in a sentence. Empty as long as all are there."""

    def __init__(self) -> None:
        self.told = ""
        self.useless: dict[str, str] = {}
        """A sentence of each endpoint that refused calls and has answered none: too few to give it up under way, but
        where a run ends so, nothing was measured.
        """


class Presence:
    """What one client knows of its endpoint. Any HTTP answer, an error too, says that it is there."""

    def __init__(self, shown: str, look: Callable[[], Awaitable[object]], departures: Departures | None) -> None:
        self._shown = shown
        self._look = look
        self._departures = departures
        self._lost = 0
        self._refused = 0
        self._useful = False
        self.gone = asyncio.Event()
        """Set once the endpoint is given up: what waits to try again need not wait."""

    def answered(self) -> None:
        """Something came back."""
        self._lost = 0

    def succeeded(self) -> None:
        """A call was answered as it should be: what fails from now on is the business of single calls."""
        self._useful = True
        if self._departures is not None:
            self._departures.useless.pop(self._shown, None)

    def refused(self, error: ModelError) -> None:
        """A call ended in an error that the endpoint answered with."""
        if self._useful or not (error.kind in _REFUSALS or 300 <= (error.status or 0) < 400):
            return
        self._refused += 1
        if self._departures is None:
            return
        calls = f"every call so far, {self._refused} of them" if self._refused > 1 else "the only call"
        said = self._departures.useless[self._shown] = self._sentence(f"{self._shown} has refused {calls}", error)
        if self._refused == REFUSED_CALLS:
            self._departures.told = self._departures.told or said

    async def lost(self) -> None:
        """A call ended without an answer. After `LOST_CALLS` in a row `look` is asked; a connection that fails there
        too means that the endpoint is gone. One that accepts the connection and is slow is there.
        """
        self._lost += 1
        if self.gone.is_set() or self._lost % LOST_CALLS:
            return
        try:
            await self._look()
        except ModelError as error:
            # Another call may have been answered while this one looked.
            if error.kind == "connection" and self._lost:
                self._give_up(error)
        else:
            self._lost = 0

    def _give_up(self, error: ModelError) -> None:
        self.gone.set()
        said = f"{self._shown} is gone: {self._lost} calls in a row and a last look met no answer"
        if self._departures is not None and not self._departures.told:
            self._departures.told = self._sentence(said, error)

    def _sentence(self, what: str, error: ModelError) -> str:
        return f"{what} ({str(error).removeprefix(self._shown).lstrip(',: ')})"
