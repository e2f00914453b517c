"""Locating the decisive step of a trial: forks after its prefixes, spent where the chance of success changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from agentlab.analysis.changepoint import change_point, next_prefixes
from agentlab.service.replay.fork import Chance, Forked, chance

if TYPE_CHECKING:
    from agentlab.service.replay.fork import Forks

LEVEL = 0.9
CERTAIN = 0.99
"""The probability of one step at which no further fork is spent."""
ROUND = 6
"""Forks between two looks at what they told."""
SHARE = 3
"""No prefix gets more than one of so many of all forks."""


class Prefix(msgspec.Struct, frozen=True, kw_only=True):
    """What came of forks at one turn: with all turns before it as recorded."""

    step: int
    """The first turn that was taken anew, as `traces show` numbers it."""
    chance: Chance
    decisive: float
    """The probability that this turn, as it was recorded, is the decisive step."""


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """Which step decided, and what speaks for it."""

    step: int
    """As `traces show` numbers it."""
    interval: tuple[int, int]
    """The first and last of the turns among which the decisive one is, with the probability `level`."""
    level: float
    probability: float
    """Of `step`."""
    before: float
    """P(success) as long as the step is not taken."""
    after: float
    """The same once it is."""
    forks: int
    left_out: int
    """Forks that ended in an error: the world answered otherwise before them, or no model or box could be had."""
    prefixes: tuple[Prefix, ...]


async def locate(forks: Forks, n: int, success: float) -> Located:
    """Spend at most `n` forks, a round at a time, on the prefixes that tell most, until one step is certain.

    Forks that end in an error tell nothing of the prefix; where a whole round does, no other is begun.
    """
    turns = len(forks.origin.steps)
    while len(forks.made) < n:
        won, made = _counts(forks.made, turns, success)
        asked = next_prefixes(won, made, min(ROUND, n - len(forks.made)), most=max(n // SHARE, 1))
        done = await forks.at(asked)
        if not any(one.outcome == "scored" for one in done):
            break
        won, made = _counts(forks.made, turns, success)
        if max(change_point(won, made).probabilities) >= CERTAIN:
            break
    return _located(forks, turns, success)


def _counts(made: Sequence[Forked], turns: int, success: float) -> tuple[list[int], list[int]]:
    of_turn = [chance([one for one in made if one.turn == turn], success) for turn in range(turns)]
    return [one.successes for one in of_turn], [one.forks for one in of_turn]


def _located(forks: Forks, turns: int, success: float) -> Located:
    steps, made = forks.origin.steps, forks.made
    found = change_point(*_counts(made, turns, success), level=LEVEL)
    prefixes = tuple(
        Prefix(
            step=steps[turn],
            chance=chance([one for one in made if one.turn == turn], success),
            decisive=found.probabilities[turn],
        )
        for turn in range(turns)
    )
    first, last = found.interval
    return Located(
        step=steps[found.step - 1],
        interval=(steps[first - 1], steps[last - 1]),
        level=LEVEL,
        probability=found.probabilities[found.step - 1],
        before=found.before,
        after=found.after,
        forks=sum(prefix.chance.forks for prefix in prefixes),
        left_out=sum(prefix.chance.left_out for prefix in prefixes),
        prefixes=prefixes,
    )
