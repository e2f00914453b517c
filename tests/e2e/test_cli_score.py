"""`agentlab score`: stored trials graded again, the new scores beside the old."""

from __future__ import annotations

import hashlib
import json

import pytest
from e2e.command_line import Cli
from e2e.ledger import LEDGER, Clerk, planted
from endpoints import Endpoint

SUMS = """
from agentlab.tasks import Sample, Score, Scorer, Task, task


def grade(sample, submission, context):
    right = sample.target in submission.answer.split()
    return Score(value=float(right and len(submission.answer) <= {longest}), answer=submission.answer)


@task
def sums() -> Task:
    samples = [
        Sample(id=f"s{{i}}", input=f"{{i}} + {{i}}?", target=str(2 * i), solution="it is " * i + str(2 * i))
        for i in range(1, 9)
    ]
    return Task(samples=samples, scorers=[Scorer(name="brief", version={version}, grade=grade)])
"""

OTHER = """
from agentlab.tasks import Score, Scorer


async def look(sample, submission, context):
    text = (await context.sandbox.read_file("ledger.txt")).decode()
    return Score(value=text.count("entry") / 4, explanation=text)


def entries(least=1):
    return Scorer(name="entries", version=3, grade=look, requires=("shell",), params={"least": least})


def broken(sample, submission, context):
    raise RuntimeError("no verdict")


broken_scorer = Scorer(name="broken", grade=broken)


def leave(sample, submission, context):
    raise SystemExit("\\x1b[2Jso long\\nagentlab: all is well")


leaving_scorer = Scorer(name="leaving", grade=leave)
"""


async def test_a_new_version_of_a_scorer_is_compared_with_the_old(cli: Cli) -> None:
    cli.write("sums.py", SUMS.format(longest=1000, version=1))
    await cli("run", "sums.py::sums", "--model", "reference")
    database = cli.run_dir / "run.db"
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    document = (cli.run_dir / "run.json").read_bytes()

    cli.write("sums.py", SUMS.format(longest=26, version=2))
    ended = await cli("score", "latest", "--json")
    (task,) = ended.document["tasks"]
    assert (task["n"], task["stored"], task["value"], task["difference"]) == (8, 1.0, 0.5, -0.5)
    assert task["ci95"][0] < -0.5 < task["ci95"][1] < 0 and (task["higher"], task["lower"]) == (0, 4)
    assert ended.document["scorers"] == {"sums": [{"name": "brief", "version": 2, "params": {}}]}
    assert "version: 1 -> 2" in ended.err
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    assert (cli.run_dir / "run.json").read_bytes() == document

    again = await cli("score", "latest", "sums/s1", "--scorer", "number:tolerance=0.5", "--name", "numbers")
    assert again.code == 0 and "number version" in again.out and "kept in" in again.out
    (await cli("score", "latest", "--name", "numbers")).refused(2, "never overwritten")
    (await cli("score", "latest", "--scorer", "number:tolerence=1")).refused(2, "tolerence")

    kept = (await cli("results", "show", "latest", "--scores", "--json")).document
    assert [one["name"] for one in kept] == ["numbers", "own"] and all(one["by"] and one["at"] for one in kept)
    shown = (await cli("results", "show", "latest", "--scores", "own", "--json")).document
    assert shown["tasks"] == ended.document["tasks"]
    (await cli("results", "show", "latest", "--scores", "none")).refused(2, "numbers, own")
    assert (await cli("results", "show", "latest", "--json")).document["tasks"][0]["value"] == 1.0


async def test_a_scorer_that_leaves_ends_its_trials_and_does_not_steer_the_terminal(cli: Cli) -> None:
    cli.write("sums.py", SUMS.format(longest=1000, version=1))
    cli.write("other.py", OTHER)
    await cli("run", "sums.py::sums", "--model", "reference")
    ended = await cli("score", "latest", "--scorer", "other.py::leaving_scorer")
    assert ended.code == 1 and "Traceback" not in ended.err
    (told,) = [line for line in ended.out.splitlines() if "not graded" in line and "trials" in line]
    assert "8 trials" in told and "so long agentlab: all is well (other.py:" in told and "\x1b" not in ended.out


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_a_workspace_is_made_again_and_what_cannot_be_is_counted(cli: Cli, endpoint: Endpoint) -> None:
    run = await planted(cli, endpoint, Clerk(turns=3, wrong=2))
    cli.write("other.py", OTHER)
    ended = await cli("score", run, "--scorer", "other.py::entries:least=2", "--json")
    (trial,) = ended.document["trials"]
    assert (trial["value"], trial["stored"]) == (0.5, 0.0) and "wrong" in trial["explanation"]
    assert ended.document["scorers"]["ledger"] == [{"name": "entries", "version": 3, "params": {"least": 2}}]

    failed = await cli("score", run, "--scorer", "other.py::broken_scorer")
    assert failed.code == 1 and "no verdict" in failed.out

    cli.write("ledger.py", LEDGER.replace('id="book"', 'id="book", files={"ledger.txt": "old"}'))
    left = await cli("score", run, "--scorer", "other.py::entries", "--json")
    assert left.code == 1
    assert left.document["tasks"][0]["not_graded"] == 1 and left.document["tasks"][0]["difference"] is None
    assert "cannot be carried out again: step" in left.document["trials"][0]["reason"]
    names = sorted(path.stem for path in (cli.run_dir / "scores").iterdir())
    assert names == ["broken-v1", "entries-v3", "entries-v3-2"]
    assert json.loads((cli.run_dir / "scores" / "entries-v3.json").read_text())["trials"] == ended.document["trials"]
