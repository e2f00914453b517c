"""Labels in files: read back as they were written, and a wrong line is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentlab.service.labelling import add_labels
from agentlab.service.labels.files import read_labels, write_labels
from agentlab.service.yaml_fields import ConfigError
from agentlab.traces.events import Note
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label
from agentlab.traces.store import RunStore


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[RunReader]:
    with RunStore.create(tmp_path / "run", {"run_id": "run"}) as store:
        for trial in (1, 2):
            recorder = store.attempt(trial, "quiz", f"q{trial}", 1, 1, {})
            recorder.record(Note(at=1.0, text="only"))
            recorder.finish("scored", 0.0)
    with RunReader(tmp_path / "run") as opened:
        yield opened


texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), max_size=6)
starts = st.sampled_from(["", "=", "'", "''=", "@", "-1", "+", "'x"])
cells = st.builds("{}{}".format, starts, texts)
names = cells.map(lambda text: f"n{text}")
given_labels = st.builds(
    Label,
    trial=st.sampled_from([1, 2]),
    attempt=st.just(1),
    seq=st.sampled_from([None, 0]),
    name=names,
    value=cells,
    source=st.sampled_from(["person", "judge", "detector", "classifier"]),
    author=names,
    guide=cells,
    note=st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: text.replace("\r", "")),
    confidence=st.none() | st.floats(0, 1),
    at=st.floats(1, 2e9),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(given_labels, max_size=5), form=st.sampled_from(["csv", "jsonl"]))
def test_what_is_written_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, reader: RunReader, labels: list[Label], form: str
) -> None:
    run_dir = tmp_path_factory.mktemp("run") / "copy"
    with RunStore.create(run_dir, {"run_id": "copy"}) as store:
        for trial in (1, 2):
            recorder = store.attempt(trial, "quiz", f"q{trial}", 1, 1, {})
            recorder.record(Note(at=1.0, text="only"))
    add_labels(run_dir, labels)
    path = run_dir / f"labels.{form}"
    with RunReader(run_dir) as source:
        assert write_labels(source, path) == len(labels)
        assert read_labels(reader, path) == list(source.labels())
    if form == "csv":
        data = path.read_text(encoding="utf-8")
        assert not any(f",{sign}" in f",{line}" for line in data.splitlines() for sign in "=@")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.csv", "trial,name,value,author\n1,a,b,ann\n9,a,b,ann\n", r"l\.csv:3: there is no trial 9 .* 1 to 2"),
        ("l.csv", "trial,step,name,value,author\n1,99,a,b,ann\n", r"l\.csv:2: attempt 1 of trial 1 has no step 99"),
        ("l.csv", "trial,attempt,name,value,author\n1,4,a,b,ann\n", r"l\.csv:2: trial 1 has no attempt 4"),
        ("l.csv", "trial,nam,value,author\n1,a,b,ann\n", r"l\.csv:2: .*'nam'; did you mean name"),
        ("l.csv", "trial,name,value,author\n1,a,b\n", r"l\.csv:2: 3 cells below 4 headings"),
        ("l.csv", 'trial,name\n1,"a"b\n', r"l\.csv:2: this is not CSV"),
        ("l.csv", "trial,name,value,author,source\n1,a,b,ann,me\n", r"l\.csv:2: .*source"),
        ("l.csv", "trial,name,value,author,confidence\n1,a,b,ann,nan\n", "between 0 and 1"),
        ("l.jsonl", '{"trial": 1, "name": "a", "value": "b", "author": "ann"}\n{"trial"\n', r":2: this is not JSON"),
        ("l.jsonl", f'{{"trial": {2**70}, "name": "a", "value": "b", "author": "ann"}}', r":1: .*trial"),
        ("l.jsonl", f'{{"trial": 1, "step": {10**30}, "name": "a", "value": "b", "author": "ann"}}', ":1: .*step"),
        ("l.csv", "trial,trial,name,value,author\n1,2,a,b,ann\n", r"l\.csv:1: two columns are called 'trial'"),
        ("l.jsonl", "[1]", r"l\.jsonl:1: Expected `object`"),
        ("l.jsonl", "[" * 100_000, r"l\.jsonl:1: this is not JSON"),
        ("l.jsonl", '{"name": "a", "value": "b", "author": "x"}', "names its trial, or its task"),
        ("l.jsonl", '{"task": "quiz", "sample": "q7", "name": "a", "value": "b", "author": "x"}', "no trial quiz/q7@1"),
        ("l.jsonl", '{"trial": 2, "task": "quiz", "sample": "q1", "name": "a", "value": "b", "author": "x"}',
         "trial 2 of this run is not quiz/q1@1, which is trial 1"),
        ("l.jsonl", '{"trial": 1, "name": "a\\u001b", "value": "b", "author": "x"}', r"l\.jsonl:1: name is empty, or"),
        ("l.jsonl", '{"trial": 1, "name": "a", "value": "b", "author": " "}', r"l\.jsonl:1: author is empty"),
        ("l.txt", "", r"\.jsonl and \.csv"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(tmp_path: Path, reader: RunReader, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_labels(reader, path)


def test_what_a_table_needs_not_say_is_filled_in(tmp_path: Path, reader: RunReader) -> None:
    path = tmp_path / "by_hand.csv"
    path.write_text(
        "\ufefftask,sample,name,value,author,step\nquiz,q2,failure,early,ann,\nquiz,q2,failure,late,ann,1\n"
    )
    whole, step = read_labels(reader, path)
    assert whole == Label(trial=2, attempt=1, name="failure", value="early", source="person", author="ann")
    assert (step.seq, step.value) == (0, "late")


def test_a_note_of_any_length_comes_back_from_a_table(tmp_path: Path, reader: RunReader) -> None:
    note = "long, " * 50_000
    add_labels(
        reader.run_dir,
        [Label(trial=1, attempt=1, name="a", value="b", source="person", author="ann", note=note)],
    )
    write_labels(reader, tmp_path / "l.csv")
    assert [label.note for label in read_labels(reader, tmp_path / "l.csv")] == [note]
