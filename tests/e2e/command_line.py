"""The `agentlab` command as a user has it: a process of its own, in a directory of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from e2e.forking import fork_command
from endpoints import Endpoint, chat

AGENTLAB = Path(sys.executable).with_name("agentlab")
PATIENCE_S = 120.0


def _no_number(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output, which must be exactly one JSON document."""
        assert self.code in (0, 1, 3, 130, 143), self.err
        return json.loads(self.out, parse_constant=_no_number)

    def refused(self, code: int, *words: str) -> str:
        """Assert that the command said what is wrong: no traceback, nothing on standard output, these words."""
        assert self.code == code, (self.code, self.out, self.err)
        assert "Traceback" not in self.err and self.out == "", (self.out, self.err)
        for word in words:
            assert word in self.err, (word, self.err)
        return self.err


@dataclass
class Cli:
    """Runs `agentlab` in `home`; runs are stored in `home/runs`."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = (str(AGENTLAB),)
    started: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def runs(self) -> list[Path]:
        """The stored runs, the oldest first."""
        return sorted(path.parent for path in (self.home / "runs").glob("*/run.json"))

    @property
    def run_dir(self) -> Path:
        """The one run that is stored."""
        (only,) = self.runs
        return only

    def write(self, name: str, text: str) -> str:
        """A file beside which the command runs; returns its name."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """This process's environment without what would steer agentlab, then what the test says."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTLAB_", "OPENAI_"))}
        if "AGENTLAB_CACHE" in os.environ:
            kept["AGENTLAB_CACHE"] = os.environ["AGENTLAB_CACHE"]
        return kept | self.env | dict(extra or {})

    async def start(
        self, *args: str, env: Mapping[str, str] | None = None, piped: bool = False
    ) -> asyncio.subprocess.Process:
        """Start the command; a test that ends kills what it has left running. `piped`: it is to be written to."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self.command,
            *args,
            cwd=self.home,
            env=self.environment(env),
            stdin=pipe if piped else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        )
        self.started.append(process)
        return process

    async def __call__(self, *args: str, env: Mapping[str, str] | None = None, stdin: str | None = None) -> Ended:
        """Run the command to its end, with `stdin` as its input. It is spared its imports where it cannot tell."""
        can_tell = self.env or any(name.startswith(("PYTHON", "LC_")) for name in env or ())
        if stdin is None and not can_tell and self.command == (str(AGENTLAB),):
            return await forked(args, self.home, self.environment(env))
        return await self.ended(await self.start(*args, env=env, piped=stdin is not None), stdin)

    async def ended(self, process: asyncio.subprocess.Process, stdin: str | None = None) -> Ended:
        given = None if stdin is None else stdin.encode()
        out, err = await asyncio.wait_for(process.communicate(given), PATIENCE_S)
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def kill_all(self) -> None:
        for process in self.started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def forked(args: Sequence[str], home: Path, environment: Mapping[str, str]) -> Ended:
    """What a command came to that was spared its imports; killed where nobody waits for it any more."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        line = fork_command(args, home, environment, out, err)
        told = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), line)
        try:
            async with asyncio.timeout(PATIENCE_S):
                pid = int(await told.readline())
                try:
                    code = int(await told.read())
                except BaseException:
                    os.kill(pid, signal.SIGKILL)
                    raise
        finally:
            transport.close()
        out.seek(0)
        err.seek(0)
        return Ended(code, out.read().decode(), err.read().decode())


QUIZ = '''
from agentlab.tasks import Sample, Task, task
from agentlab.tasks.scorers import number


@task
def quiz() -> Task:
    """Sums."""
    sums = [(f"q{{i}}", f"Question q{{i}}: what is {{i}} + {{i}}?", str(2 * i)) for i in range({n})]
    samples = [Sample(id=id, input=text, target=answer) for id, text, answer in sums]
    return Task(samples=samples, prompt="{prompt}", scorers=[number()])
'''


def quiz(n: int, prompt: str = "{input}") -> str:
    """A task file of `n` sums, `q0` to `q{n-1}`; in a box none is needed."""
    return QUIZ.format(n=n, prompt=prompt)


def question(body: Mapping[str, Any]) -> str:
    """The id of the sample that a request asks about."""
    text = json.dumps(body["messages"])
    found = re.search(r"Question (\w+):", text)
    assert found, text
    return found[1]


def solve(body: Mapping[str, Any], request: web.Request | None = None) -> dict[str, Any]:
    """Answers a quiz: wrong for every third question, so that a score is neither 0 nor 1."""
    number = int(question(body)[1:])
    return chat(str(2 * number + (number % 3 == 0)))


def asked(endpoint: Endpoint) -> Counter[str]:
    """How many requests arrived for each sample."""
    return Counter(question(body) for body in endpoint.bodies)


class Gate:
    """A behaviour that holds every answer back until it is opened, and tells how many requests wait."""

    def __init__(self, answer: Any = solve) -> None:
        self.answer = answer
        self.open = asyncio.Event()
        self.arrived = 0
        self._changed = asyncio.Condition()

    async def __call__(self, body: dict[str, Any], request: web.Request) -> Any:
        async with self._changed:
            self.arrived += 1
            self._changed.notify_all()
        await self.open.wait()
        return self.answer(body, request)

    async def reached(self, count: int) -> None:
        """Return once `count` requests have arrived."""
        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(lambda: self.arrived >= count), PATIENCE_S)


async def line_with(stream: asyncio.StreamReader | None, words: str) -> str:
    """Read lines until one holds `words`."""
    assert stream is not None
    while line := (await asyncio.wait_for(stream.readline(), PATIENCE_S)).decode():
        if words in line:
            return line
    raise AssertionError(f"the output ended without {words!r}")
