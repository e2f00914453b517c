"""`agentlab traces replay`: recorded answers served again in fresh boxes, and the first step that answers otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from e2e.command_line import Cli

SHELF = '''
from agentlab.tasks import Sample, Score, ScoreContext, Submission, Task, task
from agentlab.tasks.scorers import exact
from agentlab.traces.events import ToolCall

VOLATILE = "date; mktemp; mktemp -d; echo pid $$; python3 -c 'print(object())'; ls -l --time-style=full-iso; ls -l"


def bash(number, command):
    return ToolCall(id=f"c{{number}}", name="bash", arguments={{"command": command}})


def steps(name, *commands):
    calls = [bash(number, command) for number, command in enumerate(commands)]
    end = ToolCall(id="end", name="submit", arguments={{"answer": name}})
    return (*calls, end)


@task
def shelf() -> Task:
    """Look at files, then say what is in one of them."""
    note = {{"note.txt": "plum\\n"}}
    samples = [
        Sample(id="plain", input="Say plum.", target="plum", files=note, solution=steps("plum", "ls", "wc -l *")),
        Sample(id="planted", input="Say plum.", target="plum", files={{"note.txt": "{planted}\\n", "b.txt": "b\\n"}},
               solution=steps("plum", "ls", "cat b.txt", "cat note.txt", "cat note.txt b.txt")),
        Sample(id="volatile", input="Say plum.", target="plum", files=note, solution=steps("plum", VOLATILE)),
    ]
    return Task(samples=samples, requires=("shell",), scorers=[exact()])
'''


def by_sample(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trial["sample"]: trial for trial in document["trials"]}


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_the_quickstart_suite_answers_as_it_was_recorded(cli: Cli) -> None:
    await cli("run", "quickstart", "--model", "reference", "--harness", "tools")
    ended = await cli("traces", "replay", "latest", "--json")
    assert ended.code == 0, ended.err
    found = ended.document
    assert (found["same"], found["diverged"], found["failed"], found["skipped"]) == (9, 0, 0, 6)
    assert sum(trial["tool_calls"] for trial in found["trials"]) == 19
    assert {trial["reason"] for trial in found["trials"] if trial["status"] == "skipped"} == {
        "no tool was called, and nothing was graded in a box"
    }


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_a_changed_file_is_named_by_the_first_step_that_shows_it(cli: Cli) -> None:
    """What is volatile in outputs (times, temporary names, addresses, process numbers) is no divergence."""
    cli.write("shelf.py", SHELF.format(planted="plum"))
    await cli("run", "shelf.py::shelf", "--model", "reference", "--harness", "tools")
    assert (await cli("traces", "replay", "latest")).code == 0

    cli.write("shelf.py", SHELF.format(planted="quince"))
    ended = await cli("traces", "replay", "latest", "--json")
    assert ended.code == 1 and "shelf is not what it was" in ended.err
    found = by_sample(ended.document)
    assert {name: trial["status"] for name, trial in found.items()} == {
        "plain": "same",
        "planted": "diverged",
        "volatile": "same",
    }
    divergence = found["planted"]["divergence"]
    shown = (await cli("traces", "show", "latest", str(found["planted"]["trial"]), "--json")).document
    calls = [step for step in shown if step["type"] == "tool_call"]
    assert divergence["step"] == calls[2]["step"], "the third call is the first that reads the file"
    assert divergence["what"] == "the output of bash"
    assert divergence["expected"].startswith("plum") and divergence["got"].startswith("quince")

    told = await cli("traces", "replay", "latest", "shelf/planted")
    assert told.code == 1 and "quince" in told.out and f"step {divergence['step']}" in told.out
    only = await cli("traces", "replay", "latest", "shelf/plain")
    assert only.code == 0 and "1 same" in only.out


async def test_what_cannot_be_replayed_is_said(cli: Cli) -> None:
    """Needs no box: nothing of it is carried out."""
    cli.write("shelf.py", SHELF.format(planted="plum"))
    await cli("run", "quickstart_questions", "--model", "reference")
    ended = await cli("traces", "replay", "latest")
    assert ended.code == 0 and "6 skipped" in ended.out
    (await cli("traces", "replay", "latest", "quickstart_questions/egg")).refused(2, "did you mean", "eggs")
    turns = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
    cli.write("chat.jsonl", json.dumps({"messages": turns}))
    await cli("traces", "import", "chat.jsonl", "--name", "others")
    run = next(run for run in cli.runs if "others" in run.name)
    (await cli("traces", "replay", run.name)).refused(2, "was imported")

    cli.write("own.py", SHELF.format(planted="plum").replace('requires=("shell",), ', ""))
    await cli("run", "own.py::shelf", "--model", "reference", "--name", "own")
    (cli.home / "own.py").unlink()
    run = next(run for run in cli.runs if "own" in run.name)
    (await cli("traces", "replay", run.name)).refused(2, "own.py")
