"""`traces locate` on forty planted wrong steps, in real boxes: minutes, so run with the long tests."""

from __future__ import annotations

import random

import pytest
from e2e.command_line import Cli
from e2e.ledger import Clerk, planted, turns
from endpoints import Endpoint

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker"), pytest.mark.long, pytest.mark.timeout(1800)]


async def located(cli: Cli, endpoint: Endpoint, number: int, harm: float) -> tuple[bool, bool]:
    """Whether the planted step lies in the stated interval, and whether it is the one that is named."""
    drawn = random.Random(number)
    wrong = drawn.randint(1, 7)
    clerk = Clerk(turns=7, wrong=wrong, harm=harm, chance=drawn)
    run = await planted(cli, endpoint, clerk)
    step = (await turns(cli, run))[wrong - 1]
    found = (await cli("traces", "locate", run, "1", "--json")).document
    low, high = found["interval"]
    print(f"harm {harm}: step {step}, named {found['step']}, interval {low} to {high}, {found['forks']} forks")
    return low <= step <= high, found["step"] == step


async def test_sure_effects_are_all_named(cli: Cli, endpoint: Endpoint) -> None:
    assert all([(await located(cli, endpoint, number, 1.0))[1] for number in range(20)])


async def test_intervals_hold_steps_that_flip_the_outcome_now_and_then(cli: Cli, endpoint: Endpoint) -> None:
    """Of 20 at 90 %, 18 on average; fewer than 15 come with probability 0.01."""
    held = [(await located(cli, endpoint, number, (0.2, 0.5, 0.8)[number % 3]))[0] for number in range(20)]
    assert sum(held) >= 15
