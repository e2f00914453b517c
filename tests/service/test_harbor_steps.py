"""Tasks in Harbor's format that have several steps: one box, a conversation and a verdict each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint
from harbor_directories import QUIET, harbor_task, playing, script

from agentlab.traces.events import SandboxStart

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]


STEPS = (
    """
multi_step_reward_strategy = "mean"
[[steps]]
name = "first"
min_reward = 0.5
[[steps]]
name = "second"
[steps.verifier]
timeout_sec = 30
"""
    + QUIET
)


def two_steps(root: Path, toml: str = STEPS, first: str = "echo 1 > /app/first.txt") -> Path:
    check = 'echo "{\\"reward\\": $(cat /app/%s.txt 2>/dev/null || echo 0), \\"%s\\": 1}" > /logs/verifier/reward.json'
    files = {
        "steps/first/instruction.md": "<!-- canary 123 -->\n\nDo the first thing.",
        "steps/first/tests/test.sh": script(check % ("first", "one")),
        "steps/first/solution/solve.sh": script(first),
        "steps/second/instruction.md": "Do the second thing.",
        "steps/second/tests/test.sh": script(check % ("second", "two")),
        "steps/second/solution/solve.sh": script("[ -f /app/ready ] && cat /app/given.txt > /app/second.txt"),
        "steps/second/workdir/given.txt": "1\n",
        "steps/second/workdir/setup.sh": "touch /app/ready\n",
    }
    return harbor_task(root, toml=toml, test=None, solve=None, files=files)


async def test_steps_follow_each_other_in_one_box(harbor: Any, tmp_path: Path) -> None:
    ran = await harbor(two_steps(tmp_path / "steps"))
    row = ran.rows["steps"]
    assert (row.outcome, row.value) == ("scored", 1.0), row.error_message
    assert row.scores == {"one": 0.5, "reward": 1.0, "two": 0.5}
    assert len(ran.events("steps", SandboxStart)) == 1


async def test_a_step_that_falls_short_is_the_last(harbor: Any, tmp_path: Path) -> None:
    ran = await harbor(two_steps(tmp_path / "short", first="echo 0.25 > /app/first.txt"))
    assert ran.rows["short"].scores == {"reward": 0.25, "one": 1.0}
    final = STEPS.replace('"mean"', '"final"').replace("min_reward = 0.5\n", "")
    ran = await harbor(two_steps(tmp_path / "final", toml=final, first="echo 0.25 > /app/first.txt"))
    assert ran.rows["final"].scores == {"reward": 1.0, "two": 1.0}


async def test_each_step_is_a_conversation_of_its_own(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = playing("echo 1 > /app/first.txt; cp given.txt second.txt")
    ran = await harbor(two_steps(tmp_path / "talk"), model=endpoint.spec())
    asked = [[m["content"] for m in body["messages"] if m["role"] == "user"] for body in endpoint.bodies]
    assert [text[0].splitlines()[0] for text in asked] == ["Do the first thing."] * 2 + ["Do the second thing."] * 2
    assert all(len(text) == 1 for text in asked)
    assert ran.rows["talk"].value == 1.0


async def test_separate_verifiers_of_steps_leave_the_agents_box_alone(harbor: Any, tmp_path: Path) -> None:
    toml = 'artifacts = ["/app/first.txt", "/app/second.txt"]\n' + STEPS + '[verifier]\nenvironment_mode = "separate"\n'
    ran = await harbor(two_steps(tmp_path / "apart", toml=toml), max_sandboxes=1)
    assert ran.rows["apart"].value == 1.0, ran.rows["apart"].error_message
    assert [event.purpose for event in ran.events("apart", SandboxStart)] == ["agent", "scorer", "scorer"]
