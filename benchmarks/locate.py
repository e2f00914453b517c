"""`agentlab traces locate` on wrong steps that were planted: is the step named, and do the stated intervals hold it?

    .venv/bin/python benchmarks/locate.py [--each 20] [--forks 60] [--sandbox docker] [--limit-s 1500]

An agent writes a ledger in a box, an entry a turn, and in one turn (drawn from 1 to 7) spoils it. Whoever goes on from
there never mends it (the step has a sure effect), or fails to with probability 0.2, 0.5 or 0.8. Every trial and every
fork runs in a box of its own, by the command line, against an endpoint in this process. Prints a line a trial, then
both rows: of the sure ones all must be named; of the others the 90 % intervals must hold the true step at their nominal
rate, with Wilson's interval. After `--limit-s` no further trial is begun.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from agentlab.analysis.statistics.intervals import wilson

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

LEVEL = 0.9
HARMS = (0.2, 0.5, 0.8)
TURNS = 7


@dataclass(frozen=True)
class Found:
    """What was located of one trial."""

    named: bool
    held: bool
    forks: int


async def located(number: int, harm: float, forks: int, sandbox: str) -> Found:
    """Plant a step that spoils the outcome with probability `harm`, and look for it."""
    from e2e.command_line import Cli
    from e2e.planted import Clerk, planted, turns
    from endpoints import serve

    drawn = random.Random(number)
    wrong = drawn.randint(1, TURNS)
    with tempfile.TemporaryDirectory() as home:
        cli = Cli(Path(home), env={"AGENTLAB_SANDBOX": sandbox})
        async with serve() as endpoint:
            try:
                run = await planted(cli, endpoint, Clerk(turns=TURNS, wrong=wrong, harm=harm, chance=drawn))
                step = (await turns(cli, run))[wrong - 1]
                found = (await cli("traces", "locate", run, "1", "--n", str(forks), "--json")).document
            finally:
                await cli.kill_all()
    low, high = found["interval"]
    print(
        f"harm {harm}: step {step}, named {found['step']} (probability {found['probability']:.2f}), "
        f"interval {low} to {high}, {found['forks']} forks",
        flush=True,
    )
    return Found(found["step"] == step, low <= step <= high, found["forks"])


def row(what: str, right: int, n: int, bar: str, met: bool) -> None:
    low, high = wilson(right, n)
    share = f"{right} of {n} = {right / n:.0%} ({low:.0%} to {high:.0%})"
    print(f"{what}: {share}; bar {bar}: {'met' if met else 'missed'}")


async def measure(each: int, forks: int, sandbox: str, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    sure: list[Found] = []
    sometimes: list[Found] = []
    for number in range(each):
        for found, harm in ((sure, 1.0), (sometimes, HARMS[number % len(HARMS)])):
            if time.monotonic() < end:
                found.append(await located(number, harm, forks, sandbox))
    if len(sometimes) < each:
        print(f"stopped after {limit_s:.0f} s, with {len(sure)} and {len(sometimes)} of {each} trials")
    if sure:
        named = sum(found.named for found in sure)
        row("sure effect, step named", named, len(sure), "all", named == len(sure))
    if sometimes:
        held, n = sum(found.held for found in sometimes), len(sometimes)
        high = wilson(held, n)[1]
        row(f"effect now and then, {LEVEL:.0%} interval holds the step", held, n, f"{LEVEL:.0%}", high >= LEVEL)
        print(f"  of these named: {sum(found.named for found in sometimes)} of {n}")
    spent = [found.forks for found in (*sure, *sometimes)]
    if spent:
        print(f"forks a trial: {sum(spent) / len(spent):.1f}, at most {max(spent)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--forks", type=int, default=60)
    parser.add_argument("--sandbox", default="docker")
    parser.add_argument("--limit-s", type=float, default=1500.0)
    given = parser.parse_args()
    asyncio.run(measure(given.each, given.forks, given.sandbox, given.limit_s))


if __name__ == "__main__":
    main()
