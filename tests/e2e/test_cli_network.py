"""A task with a network, as a person sees it: in the plan, in the outcome, and in the trace."""

from __future__ import annotations

import pytest
from e2e.command_line import Cli

TASK = """
from agentlab.tasks import BoxNeeds, Sample, Task, task
from agentlab.tasks.scorers import exact
from agentlab.traces.events import ToolCall

ASK = "import urllib.request as u\\ntry: u.urlopen('https://elsewhere.example.net/')\\nexcept OSError as e: print(e)"


@task
def online() -> Task:
    asked = ToolCall(id="1", name="python", arguments={"code": ASK})
    done = ToolCall(id="2", name="submit", arguments={"answer": "yes"})
    samples = [
        Sample(id="listed", input="?", target="yes", solution=(asked, done)),
        Sample(id="all", input="?", target="yes", network=("*",)),
    ]
    return Task(
        samples=samples, requires=("python", "network"), box=BoxNeeds(network=("pypi.org",)), scorers=[exact()]
    )
"""


@pytest.mark.parametrize("sandbox", ["docker", "bubblewrap"])
async def test_what_a_task_reaches_is_planned_permitted_and_told(
    cli: Cli, sandbox: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(sandbox)
    run = ("run", cli.write("online.py", TASK), "--model", "reference", "--harness", "tools", "--sandbox", sandbox)
    plan = (await cli(*run, "--plan")).out
    assert "network" in plan.splitlines()[0] and "pypi.org" in plan and "--allow-network gives it one" in plan
    assert "--allow-network" not in (await cli(*run, "--allow-network", "--plan")).out
    ran = await cli(*run)
    assert ran.code == 0 and "--allow-network" in ran.out
    shown = " ".join((await cli("traces", "show", "latest", "1", "--full")).out.split())
    assert "network elsewhere.example.net:443 refused: not_listed" in shown
    # The model reads the reason too: it is in the output of its tool.
    assert shown.count("is not on the list of hosts that this task opens") >= 2
