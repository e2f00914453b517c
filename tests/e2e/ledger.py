"""A task of many steps, and an endpoint that solves it but for a wrong step that is planted in its first trial."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from e2e.command_line import Cli
from endpoints import Endpoint, calling, tool_call

LEDGER = '''
from agentlab.tasks import Sample, Score, Scorer, Task, task


async def grade(sample, submission, context):
    text = (await context.sandbox.read_file("ledger.txt")).decode()
    return Score(value=float("wrong" not in text and "entry" in text), explanation=text)


@task
def ledger() -> Task:
    """Write a ledger, an entry at a time."""
    scorer = Scorer(name="clean", grade=grade, requires=("shell",))
    return Task(
        samples=[Sample(id="book", input="Write the entries.")], requires=("shell",), answer="workspace",
        scorers=[scorer]
    )
'''


@dataclass
class Clerk:
    """Writes `turns` entries, one a turn, and submits. While `plants`, the entry of turn `wrong` (from 1) spoils the
    ledger; whoever finds it so takes that back in the last turn, but for the share `harm` of times.
    """

    turns: int
    wrong: int
    harm: float = 1.0
    plants: bool = True
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    systems: list[str] = field(default_factory=list)

    def __call__(self, body: dict[str, Any], request: web.Request) -> dict[str, Any]:
        messages = body["messages"]
        self.systems.append(next((m["content"] for m in messages if m["role"] == "system"), ""))
        turn = sum(message["role"] == "assistant" for message in messages) + 1
        if turn > self.turns:
            mend = {"command": "sed -i /wrong/d ledger.txt; echo entry >> ledger.txt"}
            spoilt = "echo wrong" in json.dumps(messages)
            mended = [tool_call("bash", mend, "mend")] if spoilt and self.chance.random() >= self.harm else []
            return calling(*mended, tool_call("submit", {}, f"c{turn}"))
        said = f"echo entry {turn} >> ledger.txt; tail -n 1 ledger.txt"
        if self.plants and turn == self.wrong:
            said = "echo wrong >> ledger.txt; tail -n 1 ledger.txt"
        return calling(tool_call("bash", {"command": said}, f"c{turn}"))


async def planted(cli: Cli, endpoint: Endpoint, clerk: Clerk) -> str:
    """A stored run with one trial that holds the wrong step; the endpoint plants no further one. Returns its id."""
    endpoint.behave = clerk
    cli.write("ledger.py", LEDGER)
    ran = await cli("run", "ledger.py::ledger", "--model", endpoint.spec(), "--harness", "tools", "--json")
    clerk.plants = False
    return str(ran.document["run_id"])


async def turns(cli: Cli, run: str) -> list[int]:
    """The steps of the agent's turns, as `traces show` numbers them."""
    shown = (await cli("traces", "show", run, "1", "--json")).document
    return [step["step"] for step in shown if step["type"] == "model_call"]
