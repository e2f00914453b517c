"""Answers that computer algebra would work on for ever cost their trials seconds, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from e2e.command_line import Cli, question
from endpoints import Endpoint, chat

EXPRESSIONS = """
from agentlab.tasks import Sample, Task, task
from agentlab.tasks.scorers import math_equivalent

@task
def quiz(n: int = 1) -> Task:
    samples = [Sample(id=f"q{i}", input=f"Question q{i}: simplify.", target="x + \\\\\\\\frac{1}{2}") for i in range(n)]
    return Task(samples=samples, scorers=[math_equivalent()])
"""
GOOD = r"\frac{2x + 1}{2}"
HOSTILE = [
    "9" * 100_000,
    r"\boxed{" * 14_000,
    r"\frac{1}{" * 30 + "2" + "}" * 30,
    r"\frac{1}{" * 9 + "x" + "}" * 9,
    "9^{9^{9}}",
    "2^{-10^{9}}",
    "(10^9)!",
    r"(a+b+c+d+e)^{99999}",
    "+".join(rf"\frac{{1}}{{{n}}}" for n in range(1, 150)),
    r"\sum_{n=1}^{10^{9}} n^{n}",
    '","gold":"1"}\n{"gold":"1","answer":"1","cpu_seconds":9999}',
    "__import__('os').system('true')",
]


@pytest.fixture
def mark(cli: Cli) -> str:
    """Stands in the environment of the command and of all that it starts."""
    cli.env["AGENTLAB_TEST_MARK"] = mark = uuid.uuid4().hex
    return mark


def alive(mark: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
    return found


async def test_hostile_mathematics_scores_zero_beside_a_good_answer(cli: Cli, endpoint: Endpoint, mark: str) -> None:
    def behave(body: dict[str, Any], request: web.Request) -> Any:
        number = int(question(body)[1:])
        return chat(rf"It is \boxed{{{([GOOD, *HOSTILE])[number]}}}.")

    endpoint.behave = behave
    cli.write("quiz.py", EXPRESSIONS)
    ended = await cli("run", f"quiz.py::quiz:n={len(HOSTILE) + 1}", "--model", endpoint.spec(), "--json")
    (task,) = ended.document["tasks"]
    assert task["outcomes"]["scored"] == len(HOSTILE) + 1, ended.document["errors"]
    rows = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert {row["sample"]: row["value"] for row in rows if row["value"]} == {"q0": 1.0}
    assert alive(mark) == []


async def test_a_run_that_is_stopped_does_not_wait_for_them(cli: Cli, endpoint: Endpoint, mark: str) -> None:
    asked = asyncio.Condition()
    count = 0

    async def behave(body: dict[str, Any], request: web.Request) -> Any:
        nonlocal count
        async with asked:
            count += 1
            asked.notify_all()
        number = int(re.sub(r"\D", "", question(body)))
        return chat(rf"It is \boxed{{9^{{9^{{{number + 9}}}}}}}.")

    endpoint.behave = behave
    cli.write("quiz.py", EXPRESSIONS)
    process = await cli.start("run", "quiz.py::quiz:n=400", "--model", endpoint.spec(), "--max-connections", "32")
    async with asked:  # as many trials as there are workers, and so some that are being graded
        await asyncio.wait_for(asked.wait_for(lambda: count >= 96), 60)
    process.send_signal(signal.SIGTERM)
    ended = await cli.ended(process)
    assert ended.code == 143 and "Traceback" not in ended.err
    assert alive(mark) == []
