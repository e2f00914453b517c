"""kill -9 at random moments, then resume: nothing acknowledged is lost, nothing finished is done again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from e2e.command_line import Cli, Ended, asked, quiz
from endpoints import Endpoint, bash, submit

from agentlab.traces.reader import RunReader

CONNECTIONS = 4
WORKERS = 3 * CONNECTIONS
SAMPLES = 300
FINAL = ("scored", "task", "verifier")

BOXED = '''
from agentlab.tasks import Sample, Task, task
from agentlab.tasks.scorers import match


@task
def boxed() -> Task:
    """A word to find in a box."""
    samples = [Sample(id=f"b{i}", input=f"Question b{i}: what is in word.txt?", target=f"word{i}",
                      files={"word.txt": f"word{i}"}) for i in range(6)]
    return Task(samples=samples, requires=("shell",), scorers=[match()])
'''

Stored = dict[int, tuple[Any, ...]]


def stored(run_dir: Path) -> tuple[Stored, dict[tuple[int, int], list[Any]]]:
    """Finished trials (number to sample, attempt, outcome, value), and the events of every attempt, as they are on
    disk.
    """
    with RunReader(run_dir) as reader:
        rows = list(reader.trials(final=False))
        events = {(row.trial, row.attempt): list(reader.events(row.trial, row.attempt)) for row in rows}
        finished = {
            row.trial: (row.sample, row.attempt, row.outcome, row.value) for row in rows if row.outcome in FINAL
        }
    return finished, events


class Round:
    """One run, killed and resumed until it is finished; what must hold is checked after each kill."""

    def __init__(self, cli: Cli, endpoint: Endpoint, dice: random.Random, args: tuple[str, ...], slack: int) -> None:
        self.cli = cli
        self.endpoint = endpoint
        self.dice = dice
        self.args = (*args, "--model", endpoint.spec(), "--max-connections", str(CONNECTIONS), "--json")
        self.slack = slack
        self.finished: Stored = {}
        self.events: dict[tuple[int, int], list[Any]] = {}
        self.asked: dict[str, int] = {}
        """How often each trial had been asked for when it was first seen finished."""
        self.kills = 0

    async def run(self, kills: int, moments: int) -> Ended:
        """Kill `kills` times, each at some arrival among the next `moments`, and then let it finish."""
        for _ in range(kills):
            await self._kill_at(self.dice.randrange(moments))
        ended = await self.cli(*self._command())
        assert ended.code == 0, ended.err
        self._check_nothing_was_lost(0)
        return ended

    def _command(self) -> tuple[str, ...]:
        return ("run", "--resume", "latest", "--json") if self.cli.runs else self.args

    async def _kill_at(self, moment: int) -> None:
        reached = asyncio.Event()
        start = len(self.endpoint.arrived)
        answer = self.endpoint.behave

        def counting(body: dict[str, Any], request: Any) -> Any:
            if len(self.endpoint.arrived) - start > moment:
                reached.set()
            return answer(body, request)

        self.endpoint.behave = counting
        process = await self.cli.start(*self._command())
        waits = [asyncio.create_task(reached.wait()), asyncio.create_task(process.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(self.dice.uniform(0.0, 0.02))  # the moment of the kill, not a wait for anything
        if process.returncode is None:
            process.kill()
            self.kills += 1
        await process.communicate()
        for wait in waits:
            wait.cancel()  # a run that ended before the moment came is never killed
        await asyncio.gather(*waits, return_exceptions=True)
        self.endpoint.behave = answer
        if self.cli.runs:
            self._check_nothing_was_lost(len(asked(self.endpoint)) - self.slack)

    def _check_nothing_was_lost(self, at_least: int) -> None:
        """A worker asks for its next trial only after its last one was acknowledged: of all trials that were asked
        for, only as many as there are workers may be unfinished.
        """
        finished, events = stored(self.cli.run_dir)
        assert len(finished) >= at_least
        assert finished | self.finished == finished, "a finished trial changed or is gone"
        for attempt, before in self.events.items():
            assert events[attempt][: len(before)] == before, "an acknowledged event changed or is gone"
        self.finished, self.events = finished, events
        counts = asked(self.endpoint)
        for sample, *_ in finished.values():
            assert counts[sample] == self.asked.setdefault(sample, counts[sample]), f"{sample} was done again"


async def kill_and_resume(cli: Cli, endpoint: Endpoint, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    cli.write("quiz.py", quiz(SAMPLES))
    unbroken = (await cli("run", "quiz.py", "--model", endpoint.spec(), "--json")).document
    expected = scores(unbroken)
    killed = 0
    while killed < rounds:
        for path in cli.runs:
            assert (await cli("results", "delete", path.name)).code == 0
        endpoint.arrived.clear()
        round_ = Round(cli, endpoint, dice, ("run", "quiz.py"), WORKERS)
        ended = await round_.run(min(4, rounds - killed), SAMPLES // 4)
        killed += round_.kills
        assert scores(ended.document) == expected
        assert len(round_.finished) == SAMPLES
        # Only what was under way at a kill is asked for once more.
        assert sum(asked(endpoint).values()) - SAMPLES <= WORKERS * round_.kills


def scores(document: dict[str, Any]) -> list[tuple[Any, ...]]:
    keys = ("task", "n", "trials", "metric", "value", "stderr", "ci95", "mde80", "bounds", "outcomes", "flags")
    return [tuple(task[key] for key in keys) for task in document["tasks"]]


async def test_twenty_kills_lose_nothing_and_repeat_nothing(cli: Cli, endpoint: Endpoint) -> None:
    await kill_and_resume(cli, endpoint, 20, seed=1)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_hundred_kills_lose_nothing_and_repeat_nothing(cli: Cli, endpoint: Endpoint) -> None:
    await kill_and_resume(cli, endpoint, 100, seed=2)


def look(body: dict[str, Any], request: Any) -> dict[str, Any]:
    """An agent that reads the file and submits what it found."""
    last = body["messages"][-1]
    if last["role"] != "tool":
        return bash("cat word.txt")
    return submit(last["content"].split("\n")[0])


async def kill_boxes(cli: Cli, endpoint: Endpoint, kills: int, seed: int) -> None:
    endpoint.behave = look
    cli.write("boxed.py", BOXED)
    round_ = Round(cli, endpoint, random.Random(seed), ("run", "boxed.py", "--harness", "tools"), 3)
    round_.args += ("--max-sandboxes", "2")
    ended = await round_.run(kills, 6)
    (task,) = ended.document["tasks"]
    assert task["value"] == 1.0 and task["outcomes"]["scored"] == task["n"] == 6
    assert sum(asked(endpoint).values()) - 2 * 6 <= 2 * 3 * round_.kills


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_kills_of_a_run_with_boxes_lose_and_repeat_nothing(cli: Cli, endpoint: Endpoint) -> None:
    await kill_boxes(cli, endpoint, 3, seed=3)


@pytest.mark.long
@pytest.mark.docker
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("docker")
async def test_many_kills_of_a_run_with_boxes_lose_and_repeat_nothing(cli: Cli, endpoint: Endpoint) -> None:
    await kill_boxes(cli, endpoint, 20, seed=4)
