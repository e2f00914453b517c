"""`agentlab traces locate` on wrong steps that were planted: is the step named, and do the stated intervals hold it?

An agent writes a ledger in a box, an entry a turn, and in one turn (drawn from 1 to 7) spoils it. Whoever goes on from
there never mends it (the step has a sure effect), or fails to with probability 0.2, 0.5 or 0.8. Every trial and every
fork runs in a box of its own, by the command line, against an endpoint in this process. Of the sure ones all must be
named; of the others the 90 % intervals must hold the true step at their nominal rate.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from checks.lines import Line

from agentlab.analysis.statistics.intervals import wilson

LEVEL = 0.9
HARMS = (0.2, 0.5, 0.8)
TURNS = 7
FORKS = 60


@dataclass(frozen=True)
class Found:
    """What was located of one trial."""

    named: bool
    held: bool
    forks: int


def locate(each: int, limit_s: float) -> list[Line]:
    """Both rows, over `each` trials; no further one is begun after `limit_s` seconds."""
    # The planted agent is that of the tests.
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    return asyncio.run(_measured(each, limit_s))


async def _measured(each: int, limit_s: float) -> list[Line]:
    end = time.monotonic() + limit_s
    sure: list[Found] = []
    sometimes: list[Found] = []
    for number in range(each):
        for found, harm in ((sure, 1.0), (sometimes, HARMS[number % len(HARMS)])):
            if time.monotonic() < end:
                found.append(await _located(number, harm))
    if not sometimes:
        raise SystemExit(f"locate: not a pair of trials was done within {limit_s:g} s")
    named, held = sum(found.named for found in sure), sum(found.held for found in sometimes)
    spent = [found.forks for found in (*sure, *sometimes)]
    forks = f"{sum(spent) / len(spent):.1f} forks a trial, at most {max(spent)}"
    beside = f"named in {sum(found.named for found in sometimes)}; {forks}"
    interval = wilson(held, len(sometimes))
    return [
        Line(
            "locate: planted steps with a sure effect that are named",
            f"{named} of {len(sure)}",
            wilson(named, len(sure)),
            f"{each} of {each}",
            named == each,
        ),
        Line(
            "locate: planted steps with an effect now and then in their interval",
            f"{held} of {len(sometimes)}",
            interval,
            f"{LEVEL:.2f} in reach",
            interval[1] >= LEVEL and len(sometimes) == each,
            beside,
        ),
    ]


async def _located(number: int, harm: float) -> Found:
    """Plant a step that spoils the outcome with probability `harm`, and look for it."""
    from e2e.command_line import Cli
    from e2e.ledger import Clerk, planted, turns
    from endpoints import serve

    drawn = random.Random(number)
    wrong = drawn.randint(1, TURNS)
    with tempfile.TemporaryDirectory() as home:
        cli = Cli(Path(home))
        async with serve() as endpoint:
            try:
                run = await planted(cli, endpoint, Clerk(turns=TURNS, wrong=wrong, harm=harm, chance=drawn))
                step = (await turns(cli, run))[wrong - 1]
                found = (await cli("traces", "locate", run, "1", "--n", str(FORKS), "--json")).document
            finally:
                await cli.kill_all()
    low, high = found["interval"]
    print(
        f"harm {harm}: step {step}, named {found['step']} (probability {found['probability']:.2f}), "
        f"interval {low} to {high}, {found['forks']} forks",
        flush=True,
    )
    return Found(found["step"] == step, low <= step <= high, found["forks"])
