"""What a user gets for runs that are damaged, edited, alive or no runs at all: one sentence, and nothing is harmed."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from e2e.command_line import Cli, Gate, asked, quiz
from endpoints import Endpoint

RUN = ("run", "--model", "reference")


async def test_a_directory_that_is_no_run_is_refused(cli: Cli) -> None:
    (cli.home / "other").mkdir()
    for command in (("results", "show"), ("results", "delete"), ("run", "--resume")):
        (await cli(*command, "other")).refused(2, "other is not a run directory")
    (await cli("traces", "show", "other", "1")).refused(2, "other is not a run directory")
    (await cli("results", "show", "2020")).refused(2, "there is no run 2020")
    (await cli("results", "show", "latest")).refused(2, "there are no runs")
    damaged = cli.home / "damaged"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    (await cli("results", "show", "damaged")).refused(2, "damaged is not a run directory")
    (await cli("run", "--resume", "damaged")).refused(2, "damaged is not a run directory")


async def interrupted_run(cli: Cli, endpoint: Endpoint, n: int = 9) -> None:
    """A run of the quiz that was told to stop after its first requests."""
    gate = Gate()
    endpoint.behave = gate
    cli.write("quiz.py", quiz(n))
    process = await cli.start("run", "quiz.py", "--model", endpoint.spec(), "--max-connections", "1")
    await gate.reached(1)
    process.send_signal(signal.SIGTERM)
    assert (await cli.ended(process)).code == 143
    gate.open.set()


async def test_a_run_is_resumed_from_another_directory(cli: Cli, endpoint: Endpoint) -> None:
    """Its task file was looked for there."""
    await interrupted_run(cli, endpoint)
    elsewhere = Cli(cli.home / "elsewhere")
    elsewhere.home.mkdir()
    assert (await elsewhere("run", "--resume", str(cli.run_dir))).code == 0


async def test_a_resume_that_would_measure_something_else_is_refused_with_the_difference(
    cli: Cli, endpoint: Endpoint
) -> None:
    await interrupted_run(cli, endpoint)
    resume = ("run", "--resume", "latest")
    (await cli(*resume, "--limit", "5")).refused(2, "limit: none -> 5")
    (await cli(*resume, "--epochs", "2")).refused(2, "epochs: 1 -> 2")
    (await cli(*resume, "--set", "sampling.temperature=0.7")).refused(2, "temperature", "0.7")
    endpoint.models.append("other")
    (await cli(*resume, "--model", endpoint.spec("other"))).refused(2, 'model: "tiny" -> "other"')
    cli.write("quiz.py", quiz(9, prompt="Please: {input}"))
    (await cli(*resume)).refused(2, 'task quiz: prompt: not set -> "Please: {input}"')
    cli.write("quiz.py", quiz(8))
    said = (await cli(*resume)).refused(2, "task quiz: samples.n: 9 -> 8", "task quiz: the samples have changed\n")
    assert "digest" not in said
    cli.write("quiz.py", quiz(9))
    before = len(endpoint.arrived)
    assert (await cli(*resume, "--max-connections", "7")).code == 0
    assert sum(asked(endpoint).values()) - before == 9


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("epochs", 2, ("task quiz: epochs: 1 -> 2",)),
        ("seed", 5, ("task quiz: seed: 0 -> 5", "another part of the samples would be drawn")),
        ("limit", 3, ("task quiz: limit: 6 -> 3",)),
        ("limit", None, ("task quiz: limit: 6 -> none",)),
        ("tasks", ["more.py", "quiz.py"], ("task quiz: number of its first trial: 1 -> 7",)),
    ],
)
async def test_a_run_file_that_was_edited_is_refused_with_the_difference(
    cli: Cli, field: str, value: object, words: tuple[str, ...]
) -> None:
    """It decides which trial a number stands for: others would have been left out or counted for one another."""
    cli.write("quiz.py", quiz(9))
    cli.write("more.py", quiz(9).replace("quiz", "more"))
    assert (await cli(*RUN, "quiz.py", "more.py", "--limit", "6")).code == 0
    path = cli.run_dir / "run.json"
    document = json.loads(path.read_text())
    document["config"][field] = value
    path.write_text(json.dumps(document))
    (await cli("run", "--resume", "latest")).refused(2, "cannot be resumed", *words)
    document["config"][field] = {"epochs": 1, "seed": 0, "limit": 6, "tasks": ["quiz.py", "more.py"]}[field]
    path.write_text(json.dumps(document))
    assert (await cli("run", "--resume", "latest")).code == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("summary",), "x"),
        (("summary", "tasks"), -1),
        (("summary", "tasks", 0, "value"), [1]),
        (("summary", "tasks", 0, "ci95"), [None]),
        (("summary", "errors", 0), {}),
        (("config",), 5),
        (("config", "epochs"), "many"),
        (("config", "harness"), {"name": 1}),
        (("tasks", "quiz"), {}),
        (("tasks", "quiz", "groups"), "x"),
        (("plan", 0, "agent"), None),
        (("plan", 0, "task"), []),
        (("tags",), 7),
    ],
)
async def test_a_damaged_run_file_is_said_by_every_command(cli: Cli, field: tuple[str | int, ...], value: Any) -> None:
    assert (await cli(*RUN, cli.write("quiz.py", quiz(2)))).code == 0
    path = cli.run_dir / "run.json"
    document: Any = json.loads(path.read_text())
    document["summary"]["errors"] = [{"task": "quiz", "sample": "q0", "kind": "model", "message": "x"}]
    node: Any = document
    for step in field[:-1]:
        node = node[step]
    node[field[-1]] = value
    path.write_text(json.dumps(document))
    run = cli.run_dir.name
    for command in (("results", "show", run), ("traces", "show", run, "1"), ("run", "--resume", run)):
        said = (await cli(*command)).refused(2, "run.json is damaged", "".join(f"{step}" for step in field[-1:]))
        assert said.count("\n") == 1
    listed = await cli("results", "list")
    assert listed.code == 0 and "Traceback" not in listed.err and run in listed.err


async def test_a_run_file_with_texts_that_are_no_text_is_not_resumed(cli: Cli) -> None:
    assert (await cli(*RUN, cli.write("quiz.py", quiz(2)))).code == 0
    path = cli.run_dir / "run.json"
    path.write_text(path.read_text().replace('"adapter": ""', '"adapter": "\\ud800"'))
    (await cli("run", "--resume", "latest")).refused(2, "no text")


async def test_a_run_that_is_alive_is_named_by_its_process(cli: Cli, endpoint: Endpoint) -> None:
    gate = Gate()
    endpoint.behave = gate
    cli.write("quiz.py", quiz(3))
    process = await cli.start("run", "quiz.py", "--model", endpoint.spec())
    await gate.reached(1)
    for command in (("run", "--resume", "latest"), ("results", "delete", "latest")):
        (await cli(*command)).refused(2, "alive", f"process {process.pid}")
    assert f"alive ({process.pid})" in (await cli("results", "list")).out
    gate.open.set()
    assert (await cli.ended(process)).code == 0
    assert (await cli("results", "delete", "latest")).code == 0
