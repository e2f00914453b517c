"""Labels go out with our ATIF exports and come back with an import, each once, at the same step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlab.service.importing import import_traces
from agentlab.service.labelling import add_labels
from agentlab.service.labels.files import written
from agentlab.traces.events import ErrorRaised, Message, ModelCall, Note, ToolCall, ToolCallEvent, ToolResult
from agentlab.traces.formats.export import export_atif
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label
from agentlab.traces.store import RunStore

FIELDS = ("trial", "name", "value", "source", "author", "guide", "confidence", "note")


def label(name: str, value: str, seq: int | None, **more: Any) -> Label:
    return Label(
        **({"trial": 1, "attempt": 1, "source": "person", "author": "ann"} | more), name=name, value=value, seq=seq
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A trial that ended in an error, labelled by everybody, and one that nobody has said anything of."""
    path = tmp_path / "runs" / "one"
    asked = Message(role="user", content="Mend it.")
    call = ToolCall("c", "bash", {"command": "make"})
    answer = Message(role="assistant", content="I build it.", tool_calls=(call,))
    with RunStore.create(path, {"run_id": "one", "status": "finished"}) as store:
        for trial in (1, 2):
            recorder = store.attempt(trial, "mend", f"s{trial}", 1, 1, {})
            recorder.record(Note(at=1.0, text="not a step of anybody's"))
            recorder.record(ModelCall(at=2.0, model="m", messages=(asked,), response=answer))
            recorder.record(ToolCallEvent(at=3.0, call=call, result=ToolResult("make: no rule\n[exit code 2]")))
            recorder.record(ErrorRaised(at=4.0, boundary="sandbox", kind="lost", message="the box is gone"))
            recorder.finish("sandbox", flags=("truncated",), error=("lost", "the box is gone"))
    machine = {"source": "detector", "author": "infrastructure/1", "guide": "failure@1"}
    add_labels(
        path,
        [
            label("failure", "environment.sandbox", None, **machine, at=1732230000.123456789),
            label("finding", "infrastructure", 3, **machine, note="the box is gone", at=1732230000.123456789),
            label(
                "cause",
                "Invalid Invocation",
                2,
                source="classifier",
                author="cause-v1",
                confidence=0.25,
                at=1732230001.5,
            ),
            label("cause", "invention", 1, guide="failure@1", note="\x1b[31mmade up", at=1732230002.0),
            label("step", "wrong", 2, author="bob", at=1732230003.0),
            label("step", "right", 2, author="bob", at=1732230004.0),
        ],
    )
    return path


def told(run_dir: Path) -> list[dict[str, Any]]:
    """The labels that hold as `label export` writes them, but what stands at a step instead of its number."""
    with RunReader(run_dir) as reader:
        rows = [json.loads(line) for line in written(reader, "jsonl")]
        events = {stored.seq: stored.event for stored in reader.events(1)}
    found = []
    for row in rows:
        if row["value"] == "wrong":
            continue  # bob thought better of it
        event = events[row["step"] - 1] if row["step"] is not None else None
        what = event.call.name if isinstance(event, ToolCallEvent) else "said" if event is not None else "whole"
        found.append({name: row[name] for name in FIELDS} | {"at": round(row["at"], 6), "of": what})
    return sorted(found, key=lambda row: (row["at"], row["name"]))


def exported(run_dir: Path, out: Path) -> list[Any]:
    out.mkdir()
    with RunReader(run_dir) as reader:
        export_atif(reader, out)
    return [json.loads(path.read_text()) for path in sorted(out.iterdir())]


def test_labels_come_back_from_our_own_exports_each_once(run_dir: Path, tmp_path: Path) -> None:
    documents = exported(run_dir, tmp_path / "out")
    imported = import_traces(tmp_path / "out", tmp_path / "runs")

    before, after = told(run_dir), told(imported.run_dir)
    # An error is no step of ATIF's: what was said of it stands at the step before.
    moved = [row | {"of": "bash"} if row["value"] == "infrastructure" else row for row in before]
    assert after == moved and len(after) == 5
    assert imported.labels == {"failure": 1, "finding": 1, "cause": 2, "step": 1}
    with RunReader(imported.run_dir) as reader:
        row = reader.trial(1)
        assert (row.outcome, row.flags, row.error_kind) == ("sandbox", ("truncated",), "lost")
        assert not list(reader.labels(2)), "the detectors have looked at it where it ran"

    assert [document["steps"] for document in exported(imported.run_dir, tmp_path / "again")][1] == documents[1][
        "steps"
    ]
    twice = import_traces(tmp_path / "again", tmp_path / "runs")
    assert told(twice.run_dir) == after


def test_what_was_said_of_an_import_comes_back_too_and_what_is_no_label_stays(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "schema_version": "ATIF-v1.8",
        "agent": {"name": "a", "version": "1"},
        "steps": [
            {"step_id": 1, "source": "user", "message": "Mend it.", "extra": {"seq": 7, "labels": ["theirs"]}},
            {"step_id": 2, "source": "agent", "message": "Done.", "extra": {"labels": {"also": "theirs"}}},
        ],
        "extra": {"agentlab": {"labels": ["no label of ours"]}},
    }
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.json").write_text(json.dumps(document))
    first = import_traces(tmp_path / "in", tmp_path / "runs")
    assert not first.labels and exported(first.run_dir, tmp_path / "out") == [document]
    add_labels(first.run_dir, [label("step", "wrong", 1, at=5.0), label("final", "bad", None, at=6.0)])
    (given,) = exported(first.run_dir, tmp_path / "labelled")
    assert given["steps"] == document["steps"]
    # Beside what is no label nothing is read: they are not ours to take apart.
    del given["extra"]["agentlab"]["labels"][0]
    (tmp_path / "in" / "t.json").write_text(json.dumps(given))
    second = import_traces(tmp_path / "in", tmp_path / "runs")
    with RunReader(second.run_dir) as reader:
        found = [(one.name, one.value, one.seq, one.at) for one in reader.labels() if one.source == "person"]
    assert found == [("step", "wrong", 1, 5.0), ("final", "bad", None, 6.0)]
    assert exported(second.run_dir, tmp_path / "twice") == [given]
