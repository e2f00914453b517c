"""Runs are listed, found by reference, moved to the trash and back; the index can be deleted and damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agentlab.traces.catalogue import INDEX, Catalogue, delete_run, restore_run, trashed
from agentlab.traces.errors import NotARun, RunLocked, StoreError, UnknownRun, UnknownTrial
from agentlab.traces.reader import RunReader, resolve_run, resolve_trial
from agentlab.traces.store import RunStore


def make_run(runs: Path, run_id: str, **document: Any) -> Path:
    with RunStore.create(runs / run_id, {"run_id": run_id, **document}) as store:
        for trial, (task, sample, epoch) in enumerate(
            [("gsm8k", "test-1", 1), ("gsm8k", "test-1", 2), ("arc", "a/b", 1)]
        ):
            store.attempt(trial, task, sample, epoch, 0, {}).finish("scored", 1.0)
    return runs / run_id


SUMMED_UP = {
    "task": "gsm8k", "n": 2, "trials": 2, "metric": "mean", "value": 0.5, "stderr": None, "ci95": [None, None],
    "mde80": None, "bounds": [0.5, 0.5], "outcomes": {"scored": 2}, "tokens": {"input": 0, "output": 0},
    "latency_ms": {"p50": None}, "route": {"agent": "direct", "scorer": "direct"}, "cost_usd": None, "note": "",
    "metrics": [],
}  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    summary = {"run_id": "amber-1", "tasks": [SUMMED_UP], "suites": [], "errors": []}
    make_run(tmp_path, "amber-1", created_at=100.0, name="first", tags=["a"], model="m", summary=summary)
    make_run(tmp_path, "amber-2", created_at="2024-05-01T10:00:00+00:00")
    make_run(tmp_path, "birch-1", created_at=50.0)
    return tmp_path


def test_runs_are_listed_with_the_latest_first(runs: Path) -> None:
    (runs / "no-run").mkdir()
    (runs / "damaged").mkdir()
    (runs / "damaged" / "run.json").write_text("{")
    listed = Catalogue(runs).runs()
    assert [entry.id for entry in listed] == ["amber-2", "amber-1", "birch-1"]
    first = listed[1]
    assert (first.name, first.tags, first.model, first.tasks, first.pid) == (
        "first",
        ("a",),
        "m",
        (SUMMED_UP,),
        None,
    )


@pytest.mark.parametrize("damage", [None, b"", b"nonsense" * 600])
def test_the_index_is_rebuilt(runs: Path, damage: bytes | None) -> None:
    before = Catalogue(runs).runs()
    index = runs / INDEX
    assert index.is_file()
    index.unlink() if damage is None else index.write_bytes(damage)
    assert Catalogue(runs).runs() == before
    rebuilt = index.read_bytes()
    assert rebuilt.startswith(b"SQLite format 3")
    assert Catalogue(runs).runs() == before and index.read_bytes() == rebuilt  # and is then left alone


def test_a_changed_document_is_read_again(runs: Path) -> None:
    Catalogue(runs).runs()
    path = runs / "birch-1" / "run.json"
    path.write_text(json.dumps({"name": "renamed", "created_at": 1e10}))
    os.utime(path, ns=(1, 1))
    assert Catalogue(runs).runs()[0].name == "renamed"


def test_a_live_run_shows_its_process_and_cannot_be_deleted(runs: Path) -> None:
    with RunStore.reopen(runs / "birch-1"):
        assert {entry.id: entry.pid for entry in Catalogue(runs).runs()}["birch-1"] == os.getpid()
        with pytest.raises(RunLocked, match=f"process {os.getpid()}"):
            delete_run(runs / "birch-1")
    assert (runs / "birch-1" / "run.db").is_file()


def test_references_to_runs(runs: Path, tmp_path: Path) -> None:
    assert resolve_run("amber-1", runs) == resolve_run(str(runs / "amber-1"), runs) == runs / "amber-1"
    assert resolve_run("bir", runs) == runs / "birch-1"
    assert resolve_run("latest", runs) == runs / "amber-2"
    with pytest.raises(UnknownRun, match="beginning of 2 runs: amber-1, amber-2") as ambiguous:
        resolve_run("amber", runs)
    assert ambiguous.value.candidates == ("amber-1", "amber-2")
    with pytest.raises(UnknownRun, match="did you mean birch-1"):
        resolve_run("brich-1", runs)
    with pytest.raises(NotARun):
        resolve_run("./nowhere", runs)
    with pytest.raises(UnknownRun, match="there are no runs"):
        resolve_run("latest", tmp_path / "empty")


def test_references_to_trials(runs: Path) -> None:
    with RunReader(runs / "amber-1") as reader:
        assert [resolve_trial(reader, ref) for ref in ("1", "gsm8k/test-1@2", "gsm8k/test-1", "arc/a/b@1")] == [
            1,
            1,
            0,
            2,
        ]
        with pytest.raises(UnknownTrial, match="did you mean gsm8k/test-1@"):
            resolve_trial(reader, "gsm8k/test-11")
        with pytest.raises(UnknownTrial, match="there is no trial 9"):
            resolve_trial(reader, "9")


def test_a_deleted_run_is_in_the_trash_and_can_be_restored(runs: Path) -> None:
    where = delete_run(runs / "amber-1")
    assert where == runs / ".trash" / "amber-1" and trashed(runs) == ["amber-1"]
    assert [entry.id for entry in Catalogue(runs).runs()] == ["amber-2", "birch-1"]
    assert restore_run("amber", runs) == runs / "amber-1" and trashed(runs) == []
    with RunReader(runs / "amber-1") as reader:
        assert reader.counts()["scored"] == 3


def test_the_trash_keeps_runs_of_the_same_name_apart(runs: Path) -> None:
    delete_run(runs / "amber-1")
    make_run(runs, "amber-1")
    with pytest.raises(StoreError, match="cannot be restored over another run"):
        restore_run("amber-1", runs)
    delete_run(runs / "amber-1")
    assert len(trashed(runs)) == 2
    assert restore_run("amber-1", runs).name == "amber-1"
    with pytest.raises(UnknownRun, match="in the trash"):
        restore_run("birch-1", runs)
    with pytest.raises(NotARun):
        delete_run(runs / "nowhere")
