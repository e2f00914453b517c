"""People label traces in a real terminal, and are told how far they agree."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from e2e.command_line import PATIENCE_S, Cli, quiz

from agentlab.analysis.agreement import cohen_kappa, krippendorff_alpha
from agentlab.service.labelling import add_labels
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label

GUIDE = """
name: arithmetic
version: 3
question: What went wrong?
categories:
  - {key: w, name: wrong_sum, definition: The sum is wrong.}
  - {key: a1, name: answer.none, definition: There is no answer.}
  - {key: a2, name: answer.late, definition: It came too late.}
"""
EVIL = "\x1b[2J\x1b]0;owned\x07 said \u202eback"


class Tmux:
    """A terminal multiplexer with a server of its own; keys are sent to its one window, and its screen is read."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home = home
        self.started = 0
        self.environment = {**environment, "LC_ALL": "C.UTF-8", "TMUX": "", "SHELL": "/bin/sh"}

    def __call__(self, *args: str, check: bool = True) -> str:
        command = ["tmux", "-f", "/dev/null", "-S", str(self.home / f"tmux{self.started}"), *args]
        ran = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=check, timeout=PATIENCE_S
        )
        return ran.stdout

    def start(self, *command: str, columns: int = 90, rows: int = 24) -> None:
        """Run a command; the window stays when it has ended."""
        self.started += 1  # a server of its own for each: one that is ending takes no new sessions
        size = ("-x", str(columns), "-y", str(rows))
        self(
            "new-session",
            "-d",
            "-s",
            "one",
            *size,
            f"trap : INT; {shlex.join(command)}; printf '\\r\\nleft %s\\n' $?; exec cat",
        )

    def screen(self) -> str:
        return self("capture-pane", "-p", "-t", "one")

    async def until(self, *words: str) -> str:
        """The screen, as soon as it shows all of these words."""
        deadline = time.monotonic() + PATIENCE_S / 2
        while not all(word in (seen := self.screen()) for word in words):
            assert time.monotonic() < deadline, f"{words} are not all on this screen:\n{seen}"
            await asyncio.sleep(0.02)  # tmux tells nobody when a screen changes
        return seen

    def keys(self, *keys: str) -> None:
        self("send-keys", "-t", "one", *keys)

    def pid(self) -> int:
        """The process that the window's shell runs."""
        shell = self("display-message", "-p", "-t", "one", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        return int(children[0])

    def end(self) -> None:
        self("kill-server", check=False)


@pytest.fixture
async def tmux(cli: Cli) -> AsyncIterator[Tmux]:
    """tmux, installed where every part is required; elsewhere a skip that says why."""
    if shutil.which("tmux") is None and os.environ.get("AGENTLAB_REQUIRE_ALL"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "tmux"], check=True, capture_output=True)
    if shutil.which("tmux") is None:
        pytest.skip("no tmux: install the package tmux")
    started = Tmux(cli.home, cli.environment())
    yield started
    started.end()


@pytest.fixture(scope="module")
def ten_traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten sums, with escape sequences in their questions."""
    made = Cli(tmp_path_factory.mktemp("ten"))
    made.write(
        "quiz.py",
        quiz(10).replace("Question q{i}:", "{EVIL} Question q{i}:").replace("@task", f"EVIL = {EVIL!r}\n@task"),
    )
    command = (*made.command, "run", "quiz.py", "--model", "reference")
    subprocess.run(command, cwd=made.home, env=made.environment(), check=True, capture_output=True)
    return made.run_dir


@pytest.fixture
def labelled(cli: Cli, ten_traces: Path) -> Cli:
    """A command line with a copy of that run, and a guide."""
    shutil.copytree(ten_traces, cli.home / "runs" / "ten")
    cli.write("guide.yaml", GUIDE)
    return cli


def labels(cli: Cli) -> list[Label]:
    with RunReader(cli.run_dir) as reader:
        return list(reader.labels())


def labelling(cli: Cli, *more: str) -> tuple[str, ...]:
    return (
        *cli.command,
        "label",
        str(cli.run_dir),
        "--annotator",
        "ann",
        "--guide",
        str(cli.home / "guide.yaml"),
        *more,
    )


async def test_ten_traces_are_labelled_in_a_terminal_that_dies_in_the_middle(labelled: Cli, tmux: Tmux) -> None:
    tmux.start(*labelling(labelled))
    first = await tmux.until("ann, guide arithmetic@3, 0 of 10 labelled", "What went wrong?", "[w] wrong_sum")
    assert "Question q" in first and "owned" not in first and "said back" in first
    assert "score" not in first and "1.000" not in first, "blind to the outcome"
    tmux.keys("w")
    await tmux.until("1 of 10 labelled", "is wrong_sum")
    tmux.keys("a")
    await tmux.until("[1] answer.none", "[2] answer.late")
    tmux.keys("2")
    await tmux.until("2 of 10 labelled")
    tmux.keys("m", "w")
    await tmux.until("<wrong_sum>", "step 1: wrong_sum")
    tmux.keys("n", "a remark", "Enter")
    await tmux.until("<note: a remark>")
    tmux.keys("w")
    await tmux.until("3 of 10 labelled")
    tmux.keys("u")
    await tmux.until("2 of 10 labelled", "taken back: wrong_sum", "<note: a remark>")
    tmux.keys("a", "1")
    await tmux.until("3 of 10 labelled", "is answer.none")
    tmux.keys("w", "w")
    await tmux.until("5 of 10 labelled")
    before = labels(labelled)
    os.kill(tmux.pid(), 9)
    await tmux.until("left 137")
    assert labels(labelled) == before
    whole = [label.value for label in before if label.seq is None and label.name != "note"]
    assert whole == ["wrong_sum", "answer.late", "wrong_sum", "", "answer.none", "wrong_sum", "wrong_sum"]
    tmux.end()
    tmux.start(*labelling(labelled), columns=60, rows=14)
    await tmux.until("5 of 10 labelled")
    for done in range(6, 11):
        tmux.keys("w")
        await tmux.until(f"{done} of 10 labelled")
    await tmux.until("All traces of this round are labelled")
    tmux.keys("q")
    await tmux.until("ann has labelled 10 of 10 traces", "left 0")
    assert labels(labelled)[: len(before)] == before
    trials = [
        label.trial for label in labels(labelled) if label.seq is None and label.name == "arithmetic" and label.value
    ]
    assert sorted(set(trials)) == list(range(1, 11)) and len(trials) == 11
    assert {(label.author, label.source, label.guide) for label in labels(labelled)} == {
        ("ann", "person", "arithmetic@3")
    }
    shown = (await labelled("results", "show", "latest", "--samples", "--json")).document
    assert sum("arithmetic:wrong_sum" in row["labels"] for row in shown) == 9


async def test_skips_help_paging_and_an_open_round(labelled: Cli, tmux: Tmux) -> None:
    add_labels(
        labelled.run_dir,
        [
            Label(trial=n, attempt=1, name="loops", value="yes", source="detector", author="loops@1")
            for n in range(1, 11)
        ],
    )
    tmux.start(*labelling(labelled, "--limit", "2", "--open"), rows=16)
    first = await tmux.until("0 of 2 labelled", "outcome scored, value 1.000", "label loops:yes by detector loops@1")
    tmux.keys("G")
    assert "score 1 by number" in await tmux.until("score 1 by number")
    tmux.keys("Home", "Down", "Up", "Space", "b", "g", "l", "Left", "s")
    await tmux.until("0 of 2 labelled")
    tmux.keys("?")
    await tmux.until("w  wrong_sum: The sum is wrong.", "any key goes on")
    tmux.keys("x", "w")
    await tmux.until("1 of 2 labelled")
    tmux.keys("C-c")
    await tmux.until("ann has labelled 1 of 2 traces, 1 to go", "left 130")
    (given,) = [label for label in labels(labelled) if label.source == "person"]
    assert f"trial {given.trial}:" not in first, "the first one was skipped"


async def test_what_people_disagree_on_is_settled_beside_what_they_said(labelled: Cli, tmux: Tmux) -> None:
    common: dict[str, Any] = {"attempt": 1, "name": "arithmetic", "source": "person", "guide": "arithmetic@3"}
    for author, values in (("ann", ("wrong_sum", "wrong_sum")), ("bob", ("wrong_sum", "answer.late"))):
        add_labels(
            labelled.run_dir,
            [Label(trial=n, value=value, author=author, **common) for n, value in enumerate(values, 1)],
        )
    adjudicate = (
        "label",
        "adjudicate",
        str(labelled.run_dir),
        "--annotator",
        "ann",
        "--guide",
        str(labelled.home / "guide.yaml"),
    )
    tmux.start(*labelled.command, *adjudicate)
    await tmux.until("0 of 1 labelled", "trial 2:", "ann says wrong_sum", "bob says answer.late")
    tmux.keys("a", "2")
    await tmux.until("1 of 1 labelled")
    tmux.keys("q")
    await tmux.until("left 0")
    settling = labels(labelled)[-1]
    assert (settling.author, settling.value) == ("ann", "answer.late")
    assert settling.note == "settles: ann=wrong_sum; bob=answer.late" and len(labels(labelled)) == 5
    found = (await labelled("label", "agreement", "latest", "--name", "arithmetic", "--json")).document
    assert found["annotators"] == {"ann": 2, "bob": 2} and found["settled"] == 1
    assert found["people"]["raw"]["value"] == 0.5, "ann's own label counts, not her verdict"
    tmux.end()
    tmux.start(*labelled.command, *adjudicate)
    await tmux.until("no trace of", "left 0")


async def test_labels_travel_through_files_and_lose_no_one(labelled: Cli) -> None:
    shutil.copytree(labelled.run_dir, labelled.home / "copy")
    common: dict[str, Any] = {"attempt": 1, "name": "failure", "author": "ann", "source": "person"}
    add_labels(labelled.run_dir, [Label(trial=1, value="=1+1", note="'@a\n", guide="failure@1", seq=0, **common)])
    add_labels(labelled.run_dir, [Label(trial=3, value="", confidence=0.25, **common)])
    assert (await labelled("label", "export", "latest", "--out", "labels.csv")).out.startswith("2 labels of ")
    with (labelled.home / "labels.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert (first["value"], first["note"], first["step"]) == ("'=1+1", "''@a\n", "1")
    assert (await labelled("label", "import", "copy", "labels.csv")).out == "2 labels were added to copy\n"
    again = (await labelled("label", "import", "./copy", "labels.csv")).out
    assert again == "0 labels were added to copy, 2 were there already\n"
    wrong = labelled.write("wrong.csv", "trial,name,value,author\n1,a,b,ann\n99,a,b,ann\n")
    (await labelled("label", "import", "copy", wrong)).refused(2, "wrong.csv:3", "no trial 99", "1 to 10")
    with RunReader(labelled.home / "copy") as reader:
        assert list(reader.labels()) == labels(labelled)
    out = (await labelled("label", "export", "copy", "--out", "-")).out
    assert [json.loads(line)["value"] for line in out.splitlines()] == ["=1+1", ""]


async def test_agreement_is_told_of_people_and_machines(labelled: Cli) -> None:
    given = {
        ("person", "ann"): "aabbca",
        ("person", "bob"): "aabbcc",
        ("person", "cy"): "aabbb.",
        ("classifier", "c@1"): "aaabbb",
    }
    for (source, author), values in given.items():
        add_labels(
            labelled.run_dir,
            [
                Label(trial=n, attempt=1, name="failure", value=value, source=source, author=author, guide="g@1")  # type: ignore[arg-type] # one of them
                for n, value in enumerate(values, 1)
                if value != "."
            ],
        )
    found = (await labelled("label", "agreement", "latest", "--json")).document
    assert found["annotators"] == {"ann": 6, "bob": 6, "cy": 5} and found["machines"] == {"classifier c@1": 6}
    ratings = [
        [None if label == "." else label for label in unit] for unit in zip("aabbca", "aabbcc", "aabbb.", strict=True)
    ]
    assert found["people"]["alpha"]["value"] == pytest.approx(krippendorff_alpha(ratings))
    assert found["people"]["fleiss"]["traces"] == 5 and found["people"]["cohen"]["value"] is None
    pairs = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    assert set(pairs) == {
        ("ann", "bob"), ("ann", "cy"), ("bob", "cy"),
        *((who, "classifier c@1") for who in ("people", "ann", "bob", "cy")),
    }  # fmt: skip
    assert pairs["ann", "bob"]["cohen"]["value"] == pytest.approx(cohen_kappa("aabbca", "aabbcc"))
    assert pairs["people", "classifier c@1"]["traces"] == 5, "where people have a majority"
    shown = (await labelled("label", "agreement", "latest")).out
    assert "all 3 people" in shown and "people - classifier c@1" in shown and "each category against" in shown
    (await labelled("label", "agreement", "latest", "--name", "nothing")).refused(2, "'nothing'", "failure")
    # What each detector found, it found in few traces: as raters of a failure's cause they are one.
    told = {"attempt": 1, "name": "failure", "value": "a", "source": "detector", "guide": "failures/2"}
    add_labels(labelled.run_dir, [Label(trial=n, author=f"d{n}/1", **told) for n in (1, 2, 3)])  # type: ignore[arg-type] # its fields
    found = (await labelled("label", "agreement", "latest", "--json")).document
    assert found["machines"] == {"classifier c@1": 6, "detector failures/2": 3}
    (await labelled("label", "agreement", "latest", "--steps")).refused(2, "whole traces are: leave out --steps")


async def test_without_a_terminal_it_says_what_to_do_instead(labelled: Cli) -> None:
    (await labelled("label", "latest")).refused(2, "needs a terminal", "agentlab label import RUN FILE")
    (await labelled("label", "adjudicate", "latest")).refused(2, "needs a terminal", "agentlab label agreement RUN")
    ended = await labelled("label", "guide")
    assert ended.code == 0 and ended.out.startswith("#") and "name: failure" in ended.out
    (await labelled("label", "guide", "--guide", labelled.write("g.yaml", "name: x"))).refused(2, "g.yaml:1", "version")


async def test_agreement_on_steps_counts_unmarked_ones_and_how_near_the_first_marks_are(cli: Cli) -> None:
    """Ann judged three traces of four steps and marked one step in two of them; Bob marked the same one, and the next
    one; a judge read one trace.
    """
    talk = [{"role": role, "content": "."} for role in ("user", "assistant", "user", "assistant")]
    cli.write("talks.jsonl", "\n".join(json.dumps({"id": str(n), "messages": talk}) for n in (1, 2, 3)))
    await cli("traces", "import", "talks.jsonl")
    marks = {("person", "ann"): {1: 1, 2: 1, 3: None}, ("person", "bob"): {1: 1, 2: 2, 3: None}, ("judge", "j"): {1: 3}}
    for (source, author), traces in marks.items():
        given = [
            Label(trial=n, attempt=1, name="why", value="a", source=source, author=author, guide="g@1", seq=seq)  # type: ignore[arg-type] # one of them
            for n, seq in traces.items()
        ]
        add_labels(cli.run_dir, given)
    found = (await cli("label", "agreement", "latest", "--name", "why", "--steps", "--json")).document
    assert found["steps"] and found["annotators"] == {"ann": 3, "bob": 3} and found["machines"] == {"judge j": 1}
    pairs = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    both = pairs["ann", "bob"]
    assert both["traces"] == 12 and both["raw"]["value"] == pytest.approx(10 / 12)
    assert both["located"]["traces"] == 2 and both["located"]["same"]["value"] == 0.5
    assert both["located"]["within_one"]["value"] == 1.0
    judged = pairs["ann", "judge j"]["located"]
    assert judged["traces"] == 1 and judged["within_one"]["value"] == 0.0, "where both marked a step"
    shown = (await cli("label", "agreement", "latest", "--name", "why", "--steps")).out
    assert "within one" in shown and "(unmarked)" in shown
    (await cli("label", "agreement", "latest", "--name", "nothing", "--steps")).refused(2, "no step", "why")


async def test_steps_that_detectors_mark_are_compared_with_those_of_people(cli: Cli) -> None:
    """A model says the same three times: a detector marks the third, in words of its own, and Ann agrees in ours."""
    again = {
        "role": "assistant",
        "content": "I will look for the order in the list of orders once more, one moment please.",
    }
    cli.write("talk.jsonl", json.dumps({"messages": [{"role": "user", "content": "."}, again, again, again]}))
    await cli("traces", "import", "talk.jsonl")
    given = {"name": "failure", "value": "plan.looped", "source": "person", "author": "ann", "guide": "failure@2"}
    add_labels(cli.run_dir, [Label(trial=1, attempt=1, seq=3, **given)])  # type: ignore[arg-type] # its fields
    found = (await cli("label", "agreement", "latest", "--steps", "--json")).document
    (pair,) = found["pairs"]
    assert (pair["first"], pair["second"]) == ("ann", "detector failures/2")
    assert pair["raw"]["value"] == 1.0 and pair["located"]["same"]["value"] == 1.0
