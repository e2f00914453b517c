"""A round of labelling: the same traces for everyone, in an order of one's own, and everything said is stored."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from agentlab.service.labelling import add_labels
from agentlab.service.labels.page import blind, page
from agentlab.service.labels.round import Choice, LabelRound, chosen, disputes
from agentlab.traces.events import (
    ErrorRaised,
    Message,
    ModelCall,
    Note,
    Scored,
    StopReason,
    ToolCall,
    ToolCallEvent,
    ToolResult,
)
from agentlab.traces.guide import Guide, parse_guide
from agentlab.traces.labels import standing
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import StoredEvent
from agentlab.traces.store import RunStore

GUIDE = parse_guide(
    b"{name: why, version: 2, categories: [{key: x, name: a, definition: A}, {key: y, name: b, definition: B}]}", "g"
)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Twenty trials of two tasks; every other one is right, the last was killed, the one before ended in an error."""
    path = tmp_path / "run"
    with RunStore.create(path, {"run_id": "run"}) as store:
        for trial in range(1, 21):
            recorder = store.attempt(trial, f"task{trial % 2}", f"s{trial}", 1, 1, {})
            recorder.record(Note(at=1.0, text="begun"))
            if trial == 19:
                recorder.finish("model", error=("timeout", "late"))
            elif trial < 19:
                recorder.finish("scored", float(trial % 4 < 2))
    return path


def order(run_dir: Path, annotator: str = "ann", **choice: object) -> list[int]:
    with RunReader(run_dir) as reader:
        return [row.trial for row in chosen(reader, Choice(**choice), annotator)]  # type: ignore[arg-type] # its fields


def begin(run_dir: Path, annotator: str = "ann", guide: Guide = GUIDE, **more: object) -> LabelRound:
    with RunReader(run_dir) as reader:
        rows = chosen(reader, Choice(limit=5), annotator)
    return LabelRound(run_dir, rows, guide, annotator, **more)  # type: ignore[arg-type] # passed through


def said(run_dir: Path) -> list[tuple[int, str, str, str]]:
    with RunReader(run_dir) as reader:
        return [(label.trial, label.author, label.name, label.value) for label in standing(reader.labels())]


def test_everyone_judges_the_same_traces_in_an_order_of_their_own(run_dir: Path) -> None:
    assert sorted(order(run_dir)) == list(range(1, 20)) and order(run_dir) != sorted(order(run_dir))
    assert order(run_dir) == order(run_dir) != order(run_dir, "bob")
    assert set(order(run_dir, limit=6)) == set(order(run_dir, "bob", limit=6))
    assert set(order(run_dir, limit=6)) != set(order(run_dir, limit=6, seed=1))
    assert all(trial % 2 for trial in order(run_dir, tasks=("task1",)))
    assert set(order(run_dir, failed=True)) == {trial for trial in range(1, 20) if trial % 4 >= 2 or trial == 19}


def test_a_round_goes_on_from_what_is_stored_and_undoes_what_was_said_before(run_dir: Path) -> None:
    first = begin(run_dir)
    one, two = first.rows[:2]
    first.decide("a")
    first.mark(0, "b")
    first.note("look here", 0)
    first.decide("b")
    again = begin(run_dir)
    assert again.decided == 2 and again.current is again.rows[2]
    assert again.marks(two) == {0: "b"} and again.notes(two) == {0: "look here"}
    undone = again.undo()
    assert undone is not None and undone.value == "b" and again.current == two and again.decided == 1
    assert again.undo() is not None and again.notes(two) == {}
    assert begin(run_dir).marks(two) == {0: "b"}
    again.undo()
    again.undo()
    assert again.current == one and again.decided == 0 and again.undo() is None
    assert said(run_dir) == [] and begin(run_dir).undo() is None


def test_undo_brings_back_what_was_said_before(run_dir: Path) -> None:
    judged = begin(run_dir)
    for value in ("a", "b", "a"):
        judged.mark(0, value)
    place = judged.rows[0]
    for expected in ("b", "a"):
        judged.undo()
        assert judged.marks(place) == begin(run_dir).marks(place) == {0: expected}
    assert [value for *_, value in said(run_dir)] == ["a"]
    judged.undo()
    assert judged.marks(place) == {} and said(run_dir) == []
    assert judged.mark(0, "a") and not judged.mark(0, "a") and judged.marks(place) == {}


def test_a_skipped_trace_comes_again_and_a_new_version_of_the_guide_asks_anew(run_dir: Path) -> None:
    judged = begin(run_dir)
    judged.skip()
    seen = []
    while (row := judged.current) is not None:
        seen.append(row.trial)
        judged.decide("a")
    assert seen == [row.trial for row in (*judged.rows[1:], judged.rows[0])]
    newer = parse_guide(b"{name: why, version: 3, categories: [{key: x, name: a, definition: A}]}", "g")
    assert begin(run_dir, guide=newer).decided == 0 and begin(run_dir, "bob").decided == 0
    with pytest.raises(LookupError):
        judged.decide("a")


def test_disagreement_is_settled_once_and_again_when_someone_thinks_anew(run_dir: Path) -> None:
    def disputed() -> dict[tuple[int, int], list[str]]:
        with RunReader(run_dir) as reader:
            found = disputes(reader.labels(), "why")
        return {place: [label.value for label in given] for place, given in found.items()}

    ann, bob = begin(run_dir), begin(run_dir, "bob")
    for judged in (ann, bob):
        while (row := judged.current) is not None:
            judged.decide("a" if judged is ann or row.trial != ann.rows[0].trial else "b")
    place = (ann.rows[0].trial, 1)
    assert disputed() == {place: ["a", "b"]}
    settling = LabelRound(run_dir, ann.rows[:1], GUIDE, "ann", settling={place: "ann=a; bob=b"})
    settling.decide("b")
    assert disputed() == {} and begin(run_dir).decision(ann.rows[0]) == "a"
    settling.undo()
    assert disputed() == {place: ["a", "b"]}
    settling.decide("b")
    assert disputed() == {}
    (theirs,) = [label for label in bob.said if (label.trial, label.attempt) == place]
    add_labels(run_dir, [msgspec.structs.replace(theirs, value="c")])
    assert disputed() == {place: ["a", "c"]}


CALL = ToolCall(id="1", name="bash", arguments={"command": "ls"})
STOP: StopReason = "stop"


def test_a_blind_page_tells_nothing_of_the_outcome_and_nothing_is_too_wide() -> None:
    events = [
        ModelCall(
            at=1,
            model="famous-model",
            messages=(Message("user", "Do it. " + "日本語" * 60),),
            response=Message("assistant", "\x1b[2JYes."),
        ),
        ToolCallEvent(at=2, call=CALL, result=ToolResult("a\tb")),
        ModelCall(at=3, model="judge", purpose="judge", messages=(Message("user", "verdict?"),), stop_reason=STOP),
        Scored(at=4, scorer="exact", version=1, value=0.0, target="secret target"),
        ErrorRaised(at=5, boundary="model", kind="timeout", message="too late"),
    ]
    stored = [StoredEvent(seq, event) for seq, event in enumerate(events)]
    shown = page(blind(stored), 50)
    text = "\n".join(line.text for line in shown)
    assert {line.seq for line in shown} == {0, 1} and "Yes." in text and "ls" in text and "\x1b" not in text
    for word in ("verdict", "secret", "score", "late", "famous"):
        assert word not in text and word in "\n".join(line.text for line in page(stored, 50))
    assert max(sum(2 if ord(char) > 0x2E80 else 1 for char in line.text) for line in shown) <= 50
    assert [line.text for line in page([], 50)] == ["nothing is stored that was said or done"]
