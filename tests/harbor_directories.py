"""Little task directories in Harbor's format, each with only what a test is about, and what comes of running one."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

from endpoints import bash, submit

IMAGE = "agentlab/python:latest"
QUIET = f"""
[environment]
docker_image = "{IMAGE}"
network_mode = "no-network"
memory_mb = 256
workdir = "/app"
"""
"""A box of an image that is there, without a network."""
VERIFY = """
if [ "$(cat /app/answer.txt 2>/dev/null)" = right ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
"""
SOLVE = "echo right > /app/answer.txt"


def script(body: str) -> str:
    return "#!/bin/bash\n" + dedent(body)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def harbor_task(
    root: Path,
    *,
    toml: str = QUIET,
    instruction: str = "Write the word right into answer.txt.",
    test: str | None = VERIFY,
    solve: str | None = SOLVE,
    files: dict[str, str] | None = None,
) -> Path:
    """A task directory at `root`. Without more words: an answer.txt with the word right earns 1, all else 0."""
    held = {"task.toml": f'schema_version = "1.4"\n{dedent(toml)}', "instruction.md": instruction}
    if test is not None:
        held["tests/test.sh"] = script(test)
    if solve is not None:
        held["solution/solve.sh"] = script(solve)
    write(root, held | (files or {}))
    return root


def playing(*commands: str) -> Any:
    """A model that runs the commands one after the other and then submits."""

    def behave(body: dict[str, Any], request: Any) -> Any:
        said = sum(message["role"] == "assistant" for message in body["messages"])
        if said < len(commands):
            return bash(commands[said])
        return submit()

    return behave


async def value_of(harbor: Any, task: Path, **fields: Any) -> float | None:
    """What the only sample of a task directory earns, with `harbor` to run it."""
    ran = await harbor(task, **fields)
    (row,) = ran.rows.values()
    assert row.outcome == "scored", row.error_message
    return row.value


async def failure_of(harbor: Any, task: Path, **fields: Any) -> tuple[str, str, str]:
    """Outcome, kind and message of a task directory that ends in an error."""
    ran = await harbor(task, **fields)
    (row,) = ran.rows.values()
    return row.outcome, row.error_kind, row.error_message
