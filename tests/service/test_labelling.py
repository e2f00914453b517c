"""Labels are added to stored runs: durable, never one over another, and not while the run is alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentlab.service.labelling import add_labels
from agentlab.traces.errors import NotARun, RunLocked, StoreError, UnknownTrial
from agentlab.traces.events import Note
from agentlab.traces.labels import standing
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label
from agentlab.traces.store import RunStore


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run of two trials with two steps each."""
    path = tmp_path / "runs" / "one"
    with RunStore.create(path, {"run_id": "one", "status": "finished"}) as store:
        for trial in (1, 2):
            recorder = store.attempt(trial, "quiz", f"q{trial}", 1, 1, {})
            recorder.record(Note(at=1.0, text="first"))
            recorder.record(Note(at=2.0, text="second"))
            recorder.finish("scored", 0.0)
    return path


def label(value: str = "invention", **more: Any) -> Label:
    given = {"trial": 1, "attempt": 1, "name": "failure", "source": "person", "author": "ann"} | more
    return Label(value=value, **given)


def stored(run_dir: Path) -> list[Label]:
    with RunReader(run_dir) as reader:
        return list(reader.labels())


def test_labels_are_appended_with_who_when_and_which_guide(run_dir: Path) -> None:
    first = label(guide="failure@1", note="made it up", seq=1, confidence=0.5)
    assert add_labels(run_dir, [first]) == 1
    assert add_labels(run_dir, [label("timeout", author="bob", at=7.0), label("early", author="bob")]) == 2
    ours, old, new = stored(run_dir)
    assert msgspec.structs.replace(ours, at=0.0) == first and ours.at > 1e9
    assert old.at == 7.0 and new.at > ours.at


def test_what_a_person_said_last_holds_and_nothing_is_lost(run_dir: Path) -> None:
    add_labels(run_dir, [label("a", at=1.0), label("a", author="bob", at=1.0), label("x", trial=2, at=1.0)])
    add_labels(run_dir, [label("b", at=2.0), label("c", at=2.0), label("", trial=2, at=2.0)])
    machine = {"source": "detector", "author": "loops@1"}
    add_labels(run_dir, [label("m", at=1.0, **machine), label("n", at=2.0, **machine), label("n", at=3.0, **machine)])
    holds = [(found.trial, found.author, found.value) for found in standing(stored(run_dir))]
    assert holds == [(1, "bob", "a"), (1, "ann", "b"), (1, "ann", "c"), (1, "loops@1", "m"), (1, "loops@1", "n")]
    assert len(stored(run_dir)) == 9


def test_once_adds_nothing_that_is_stored(run_dir: Path) -> None:
    batch = [label("a", at=1.0), label("a", at=2.0), label("b", source="classifier", author="refusal@1")]
    assert add_labels(run_dir, batch, once=True) == 3
    assert add_labels(run_dir, batch, once=True) == 0
    assert add_labels(run_dir, [*batch, label("a", at=3.0)], once=True) == 1
    assert add_labels(run_dir, [batch[2]]) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"trial": 3}, "no trial 3 .* 1 to 2"),
        ({"attempt": 2}, "trial 1 has no attempt 2; there are: 1"),
        ({"seq": 2}, "attempt 1 of trial 1 has no step 3"),
    ],
)
def test_a_label_on_nothing_is_refused_and_none_is_stored(run_dir: Path, wrong: dict[str, int], said: str) -> None:
    with pytest.raises(UnknownTrial, match=said):
        add_labels(run_dir, [label(), label(**wrong)])
    with pytest.raises(ValueError, match="between 0 and 1"):
        add_labels(run_dir, [label(), label(confidence=float("nan"))])
    assert stored(run_dir) == []
    with pytest.raises(NotARun):
        add_labels(run_dir.parent, [label()])


HOLDS = """
import sys
from pathlib import Path
from agentlab.traces.store import RunStore
with RunStore.reopen(Path(sys.argv[1])) as store:
    store.attempt(3, "quiz", "q3", 1, 1, {}).finish("scored", 1.0)
    store.flush()
    print("alive", flush=True)
    sys.stdin.read()
"""


def test_a_live_run_is_refused_with_its_pid_and_a_killed_one_is_labelled(run_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, run_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as alive:
        assert alive.stdout is not None and alive.stdout.readline() == b"alive\n"
        with pytest.raises(RunLocked, match=str(alive.pid)):
            add_labels(run_dir, [label(trial=3)])
        alive.send_signal(signal.SIGKILL)
    assert add_labels(run_dir, [label(trial=3)]) == 1
    assert [found.trial for found in stored(run_dir)] == [3]


ADDS = """
import sys
from pathlib import Path
from agentlab.service.labelling import add_labels
from agentlab.traces.rows import Label
who = {"source": "person", "author": sys.argv[2]}
for number in range(8):
    add_labels(Path(sys.argv[1]), [Label(trial=1, attempt=1, name="n", value=str(number), **who)])
"""


def test_annotators_at_the_same_time_wait_for_each_other(run_dir: Path) -> None:
    people = [subprocess.Popen([sys.executable, "-c", ADDS, run_dir, name]) for name in ("ann", "bob")]
    assert [person.wait() for person in people] == [0, 0]
    found = stored(run_dir)
    for name in ("ann", "bob"):
        assert [entry.value for entry in found if entry.author == name] == [str(number) for number in range(8)]


@pytest.mark.skipif(os.getuid() != 0, reason="a read-only mount needs root")
def test_a_run_on_a_read_only_disk_is_refused_in_a_sentence(run_dir: Path) -> None:
    bound = subprocess.run(["mount", "--bind", run_dir, run_dir], capture_output=True, check=False)
    if bound.returncode:
        pytest.skip(f"nothing can be mounted here: {bound.stderr.decode().strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", run_dir], check=True)
        with pytest.raises(StoreError, match="Read-only file system"):
            add_labels(run_dir, [label()])
    finally:
        subprocess.run(["umount", run_dir], check=True)
