"""Files of traces that are broken, or made to break what reads them: what is wrong is one line, the rest is kept."""

from __future__ import annotations

import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agentlab.traces.errors import FormatError
from agentlab.traces.events import Said
from agentlab.traces.formats import read_traces
from agentlab.traces.formats.records import MAX_LINE

ROW = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
HEADER = json.dumps({"eval": {"task": "sums", "model": "m"}})
SAMPLE = json.dumps({"id": 1, "messages": [{"role": "user", "content": "hi"}]})


def found(path: Path) -> tuple[int, list[str]]:
    """How many traces are read, and what is said of the rest."""
    broken: list[FormatError] = []
    return len(list(read_traces(path, on_broken=broken.append))), [str(error) for error in broken]


def archive(path: Path, *members: tuple[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, text in (("header.json", HEADER), *members):
            made.writestr(name, text)
    return path


def test_a_line_that_is_too_long_costs_no_other_line(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    with path.open("wb") as file:
        file.write(f"{ROW}\n".encode())
        file.seek(2 * MAX_LINE + 9, os.SEEK_CUR)  # a hole: the file takes no room on the disk
        file.write(f"\n{ROW}\n".encode())
    assert found(path) == (2, [f"chat.jsonl, line 2: the line is longer than {MAX_LINE >> 20} MiB"])


@pytest.mark.parametrize("text", ["5", "null", "true", '"x"', "1e9"])
@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_a_record_that_is_no_object_is_no_trace(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(f"{text}\n{ROW}\n" if name == "r.jsonl" else text, encoding="utf-8")
    traces, (said,) = found(path)
    assert traces == (name == "r.jsonl") and "looks like no trace" in said


def test_a_small_archive_of_millions_of_values_is_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    many = b'{"id": 1, "messages": [], "junk": [' + b'{"":1},' * 15_000_000 + b"1]}"
    path = archive(tmp_path / "log.eval", ("samples/1_epoch_1.json", many), ("samples/2_epoch_1.json", SAMPLE))
    assert path.stat().st_size < 1 << 20
    traces, (said,) = found(path)
    assert traces == 1 and said.startswith("log.eval, samples/1_epoch_1.json: it holds so many values")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_an_archive_holds_twice_is_named(tmp_path: Path) -> None:
    name = "samples/1_epoch_1.json"
    traces, said = found(archive(tmp_path / "log.eval", (name, SAMPLE), (name, SAMPLE)))
    assert (traces, said) == (1, [f"log.eval, {name}: the archive holds it twice: the last one is read"])


def test_a_damaged_archive_ends_in_a_sentence_wherever_the_damage_is(tmp_path: Path) -> None:
    path = archive(tmp_path / "log.eval", ("samples/ä_epoch_1.json", SAMPLE))
    whole, draw = path.read_bytes(), random.Random(1)
    refused = 0
    for place in range(0, len(whole), 2):
        damaged = bytearray(whole)
        damaged[place] ^= draw.randrange(1, 256)
        path.write_bytes(damaged)
        _, said = found(path)
        assert all(told.startswith("log.eval") for told in said)
        refused += bool(said)
    assert refused > len(whole) // 4


def test_names_with_line_breaks_make_no_second_line(tmp_path: Path) -> None:
    path = archive(tmp_path / "log\n.eval", ("samples/x\nagentlab: all is well\u2028_epoch_1.json", "{"))
    _, (said,) = found(path)
    assert len(said.splitlines()) == 1 and "all is well" in said


def test_a_link_that_leads_in_a_circle_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("b.json")
    (tmp_path / "b.json").symlink_to("a.json")
    with pytest.raises(FormatError, match="no such file"):
        list(read_traces(tmp_path / "a.json"))
    (tmp_path / "chat.jsonl").write_text(ROW, encoding="utf-8")
    assert found(tmp_path) == (1, [])


@pytest.mark.parametrize("number", [10**400, float("inf"), float("nan")], ids=["huge", "infinite", "none"])
@pytest.mark.parametrize(
    "record",
    [
        {"eval": {"task": "t"}, "samples": [{"id": 1, "messages": [], "scores": {"s": {"value": "NUMBER"}}}]},
        {"trajectory_format": "mini-swe-agent-1", "messages": [], "info": {"model_stats": {"instance_cost": "NUMBER"}}},
        {
            "agent": {"name": "a", "version": "1"},
            "steps": [{"step_id": 1, "source": "user", "message": "x"}],
            "final_metrics": {"total_prompt_tokens": 1, "total_cost_usd": "NUMBER"},
            "extra": {"agentlab": {"value": "NUMBER"}},
        },
    ],
    ids=["inspect", "mini-swe-agent", "atif"],
)
def test_numbers_that_are_none_are_no_score_and_no_cost(tmp_path: Path, record: dict[str, Any], number: float) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record).replace('"NUMBER"', json.dumps(number)), encoding="utf-8")
    broken: list[FormatError] = []
    traces = list(read_traces(path, on_broken=broken.append))
    assert len(traces) + len(broken) == 1
    assert all(trace.value is None and trace.cost_usd is None and not trace.scores for trace in traces)


def test_a_speaker_whose_name_is_no_text_is_an_agent_of_no_known_name(tmp_path: Path) -> None:
    history = [{"role": "user", "name": {"a": 1}, "content": "x"}, {"role": "user", "name": "Web", "content": "y"}]
    record = {"question_ID": "q", "mistake_step": "0", "system_prompt": {"Web": "Search."}, "history": history}
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    (trace,) = read_traces(path)
    assert [event.message.role for event in trace.events if isinstance(event, Said)] == ["user", "assistant"]
