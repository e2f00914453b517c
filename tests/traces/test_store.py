"""What is recorded is read back equal; one writer at a time; a message is stored once."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentlab.traces.errors import NotARun, RunLocked, StoreError
from agentlab.traces.events import (
    Artifact,
    ErrorRaised,
    Event,
    ImagePart,
    LimitReached,
    ListRecorder,
    Message,
    ModelCall,
    ModelRetry,
    NetworkAccess,
    Note,
    Recorder,
    SandboxEnd,
    SandboxExec,
    SandboxStart,
    Scored,
    TextPart,
    ToolCall,
    ToolCallEvent,
    ToolResult,
    ToolSpec,
    Usage,
)
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import Label
from agentlab.traces.store import RunStore

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))

names = st.text(max_size=12)
numbers = st.floats(allow_nan=False)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, plain_values, max_size=3)
calls = st.builds(ToolCall, id=names, name=names, arguments=objects, raw=names, error=names)
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=names | st.text(min_size=300, max_size=400) | st.lists(st.builds(TextPart, names), max_size=2).map(tuple),
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    tool_call_id=names,
    reasoning=names,
)
tools = st.builds(ToolSpec, name=names, description=names, parameters=objects)
usages = st.builds(Usage, st.integers(0, 1 << 40), st.integers(0, 1 << 40))
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        ModelCall,
        at=numbers,
        model=names,
        messages=st.lists(messages, max_size=4).map(tuple),
        tools=st.lists(tools, max_size=2).map(tuple),
        sampling=objects,
        response=st.none() | messages,
        logprobs=st.lists(st.floats(allow_nan=False, max_value=0), max_size=3).map(tuple),
        usage=usages,
        cost_usd=st.none() | numbers,
    ),
    st.builds(ModelRetry, at=numbers, kind=names, message=names, wait_s=st.none() | numbers),
    st.builds(ToolCallEvent, at=numbers, call=calls, result=st.builds(ToolResult, content=names)),
    st.builds(SandboxStart, at=numbers, box=names, sandbox=names, isolation=names),
    st.builds(SandboxExec, at=numbers, box=names, argv=st.lists(names).map(tuple), exit_code=st.integers(-9, 255)),
    st.builds(SandboxEnd, at=numbers, box=names, seconds=st.floats(0, 1e6)),
    st.builds(NetworkAccess, at=numbers, box=names, host=names, port=st.integers(0, 65535), reason=names),
    st.builds(LimitReached, at=numbers, limit=st.just("turn_limit"), value=numbers),
    st.builds(Scored, at=numbers, scorer=names, version=st.integers(1, 9), value=numbers, answer=names),
    st.builds(ErrorRaised, at=numbers, boundary=st.just("model"), kind=names, message=names, detail=names),
    st.builds(Note, at=numbers, text=names, data=objects),
)


def begin(store: RunStore, trial: int = 0, attempt: int = 0, **more: Any) -> Any:
    return store.attempt(trial, "gsm8k", f"s-{trial}", 0, attempt, {"agent": "direct", "scorer": "direct"}, **more)


def read(run_dir: Path, trial: int = 0, attempt: int | None = None, **options: Any) -> list[Event]:
    with RunReader(run_dir) as reader:
        return [stored.event for stored in reader.events(trial, attempt, **options)]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(recorded=st.lists(events, min_size=1, max_size=12))
async def test_what_is_recorded_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, recorded: list[Event]
) -> None:
    run_dir = tmp_path_factory.mktemp("run")
    with RunStore.create(run_dir, {}) as store:
        recorder = begin(store)
        for event in recorded:
            recorder.record(event)
        await recorder.durable()
        assert read(run_dir) == recorded  # from a run that is still alive
    assert read(run_dir) == recorded
    with RunReader(run_dir) as reader:
        assert [stored.seq for stored in reader.events(0)] == list(range(len(recorded)))


def test_attempt_recorder_is_a_recorder(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", {}) as store:
        assert isinstance(begin(store), Recorder)
    assert isinstance(ListRecorder(), Recorder)


async def test_a_growing_conversation_is_stored_once(tmp_path: Path) -> None:
    spec = (ToolSpec("bash", "Run a command", {"type": "object"}),)
    history: list[Message] = [Message("system", "S" * 500), Message("user", "U" * 500)]
    sent: list[ModelCall] = []
    with RunStore.create(tmp_path / "r", {}) as store:
        recorder = begin(store)
        for step in range(50):
            answer = Message("assistant", f"step {step} " + "a" * 400, tool_calls=(ToolCall(f"c{step}", "bash"),))
            call = ModelCall(at=float(step), model="m", messages=tuple(history), tools=spec, response=answer)
            recorder.record(call)
            sent.append(call)
            history += [answer, Message("tool", f"output {step}", tool_call_id=f"c{step}")]
        await recorder.durable()
    assert read(tmp_path / "r") == sent
    with closing(sqlite3.connect(tmp_path / "r/run.db")) as database:
        assert database.execute("SELECT count(*) FROM messages").fetchone() == (2 + 49 * 2 + 1 + 1,)
        longest = database.execute("SELECT max(length(refs)) FROM events").fetchone()[0]
    assert longest < 120  # each call refers to what is new, not to its whole history


async def test_equal_messages_of_other_objects_and_trials_are_stored_once(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", {}) as store:
        for trial in range(3):
            recorder = begin(store, trial)
            for _ in range(2):
                sent = (Message("system", "be brief"), Message("user", "2+2?"))
                recorder.record(ModelCall(at=0.0, model="m", messages=sent, response=Message("assistant", "4")))
            await recorder.durable()
    with closing(sqlite3.connect(tmp_path / "r/run.db")) as database:
        assert database.execute("SELECT count(*) FROM messages").fetchone() == (3,)
    assert [call.messages[1].text for call in read(tmp_path / "r", 2) if isinstance(call, ModelCall)] == ["2+2?"] * 2


async def test_images_move_to_artifacts_and_come_back(tmp_path: Path) -> None:
    picture = ImagePart("image/png", data=PNG)
    asked = Message("user", (TextPart("what is this?"), picture))
    call = ModelCall(at=1.0, model="m", messages=(asked,), response=Message("assistant", "a cat"))
    shot = ToolCallEvent(at=2.0, call=ToolCall("1", "screenshot"), result=ToolResult("done", images=(picture,)))
    with RunStore.create(tmp_path / "r", {}) as store:
        recorder = begin(store)
        digest = recorder.artifact(PNG, "image/png", "screen.png")
        recorder.record(call)
        recorder.record(shot)
        await recorder.durable()
        kept = list((tmp_path / "r/artifacts").rglob("*"))
    assert [path.name for path in kept if path.is_file()] == [digest]
    assert read(tmp_path / "r", images=True)[1:] == [call, shot]
    first, stored, _ = read(tmp_path / "r")
    assert isinstance(first, Artifact) and (first.sha256, first.size, first.name) == (digest, len(PNG), "screen.png")
    assert isinstance(stored, ModelCall) and stored.messages[0].content == (
        TextPart("what is this?"),
        ImagePart("image/png", sha256=digest),
    )


async def test_what_no_utf8_and_no_64_bits_can_hold_is_kept_as_near_as_possible(tmp_path: Path) -> None:
    deep: Any = "end"
    for _ in range(5000):
        deep = [deep]
    odd = ToolCall("1", "f", arguments={"lone": "a\ud800b", "big": 10**40, "nan": math.nan, "deep": deep, "set": {1}})
    with RunStore.create(tmp_path / "r", {}) as store:
        recorder = begin(store)
        recorder.record(ModelCall(at=1.0, model="m", response=Message("assistant", "x\udc00", tool_calls=(odd,))))
        recorder.record(Note(at=2.0, text="still alive", data={"object": object}))
        await recorder.durable()
    call, note = read(tmp_path / "r")
    assert isinstance(call, ModelCall) and call.response is not None
    arguments = call.response.tool_calls[0].arguments
    assert call.response.text == "x\\udc00" and arguments["lone"] == "a\\ud800b"
    assert arguments["big"] == 10**40 and math.isnan(arguments["nan"]) and arguments["set"] == [1]
    assert "nested too deeply" in str(arguments["deep"])
    assert isinstance(note, Note) and note.data["object"] == "<class 'object'>"


async def test_the_last_attempt_counts_and_every_attempt_is_kept(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", {}) as store:
        first = begin(store, cluster="passage-1", group="algebra")
        first.record(ErrorRaised(at=1.0, boundary="sandbox", kind="lost", message="the box is gone"))
        first.finish("sandbox", error=("lost", "the box is gone"))
        second = begin(store, attempt=1, cluster="passage-1", group="algebra")
        answer = Message("assistant", "4")
        second.record(
            ModelCall(
                at=2.0,
                model="m",
                response=answer,
                usage=Usage(10, 5, 2, 1),
                cost_usd=0.5,
                latency_ms=125.0,
                ttft_ms=50.0,
            )
        )
        second.record(SandboxEnd(at=3.0, box="b", seconds=2.5))
        second.finish("scored", 0.5, {"loose": 1.0}, ("truncated",))
        await second.durable()
        assert store.finished() == {("gsm8k", "s-0", 0)}
    with RunReader(tmp_path / "r") as reader:
        lost, scored = reader.attempts(0)
        assert [row.attempt for row in reader.trials()] == [1] and len(list(reader.trials(final=False))) == 2
        counts, columns, totals = reader.counts(), reader.columns("gsm8k"), reader.totals("gsm8k")
    assert (lost.outcome, lost.final, lost.value, lost.error_kind, lost.error_message) == (
        "sandbox",
        False,
        None,
        "lost",
        "the box is gone",
    )
    assert (scored.outcome, scored.final, scored.value, scored.scores, scored.flags) == (
        "scored",
        True,
        0.5,
        {"loose": 1.0},
        ("truncated",),
    )
    assert (scored.usage, scored.cost_usd, scored.latencies_ms, scored.ttfts_ms) == (
        Usage(10, 5, 2, 1),
        0.5,
        (125.0,),
        (50.0,),
    )
    assert (scored.sandbox_seconds, scored.cluster, scored.group) == (2.5, "passage-1", "algebra")
    assert scored.ended_at is not None and scored.ended_at >= scored.started_at > 1e9
    assert counts == {"scored": 1, "model": 0, "sandbox": 0, "task": 0, "verifier": 0, "cancelled": 0, "running": 0}
    assert columns.value.tolist() == [0.5] and columns.latency_ms.tolist() == [125.0]
    assert columns.extra["loose"].tolist() == [1.0] and columns.group_names == ("algebra",)
    assert (totals.trials, totals.outcomes, totals.flags) == (1, counts, {"truncated": 1})
    assert (totals.input_tokens, totals.output_tokens, totals.cost_usd, totals.sandbox_seconds) == (10, 5, 0.5, 2.5)


async def test_an_attempt_that_was_not_finished_has_no_outcome(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", {}) as store:
        recorder = begin(store)
        recorder.record(Note(at=1.0, text="started"))
        await recorder.durable()
    with RunStore.reopen(tmp_path / "r") as store:
        assert [(last.attempt, last.outcome) for last in store.last_attempts()] == [(0, None)]
        assert store.finished() == set()
    with RunReader(tmp_path / "r") as reader:
        assert reader.counts()["running"] == 1
        assert math.isnan(reader.columns("gsm8k").value[0]) and reader.totals("gsm8k").outcomes["running"] == 1


def test_labels_stand_beside_one_another(tmp_path: Path) -> None:
    judged = Label(trial=0, attempt=0, name="failure", value="loop", source="detector", author="loop/1", at=5.0, seq=3)
    seen = Label(trial=0, attempt=0, name="failure", value="gave_up", source="person", author="ada", guide="2", at=6.0)
    with RunStore.create(tmp_path / "r", {}) as store:
        store.label(judged)
        store.label(seen)
        store.flush()
        with RunReader(tmp_path / "r") as reader:
            assert list(reader.labels(0)) == [judged, seen] and list(reader.labels(1)) == []


def test_a_live_run_is_locked_and_names_its_process(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", {}):
        script = "import sys, pathlib\nfrom agentlab.traces.store import *\nRunStore.reopen(pathlib.Path(sys.argv[1]))"
        other = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "r"], capture_output=True, text=True, check=False
        )
        assert (
            other.returncode == 1
            and f"RunLocked: {tmp_path / 'r'}: this run is alive, process {os.getpid()}" in other.stderr
        )
        with pytest.raises(RunLocked) as locked:
            RunStore.reopen(tmp_path / "r")
        assert locked.value.pid == os.getpid()
    RunStore.reopen(tmp_path / "r").close()


def test_a_lock_that_is_a_link_writes_over_nothing(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "r", {}).close()
    mine = tmp_path / "mine.txt"
    mine.write_text("kept")
    (tmp_path / "r" / "lock").unlink()
    (tmp_path / "r" / "lock").symlink_to(mine)
    with pytest.raises(StoreError, match="lock: Too many levels of symbolic links"):
        RunStore.reopen(tmp_path / "r")
    assert mine.read_text() == "kept"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARun, match=r"is not a run directory: there is no run\.json"):
        RunStore.reopen(tmp_path)
    with pytest.raises(NotARun):
        RunReader(tmp_path / "absent")
    (tmp_path / "run.json").write_text("{broken")
    with pytest.raises(NotARun, match="cannot be read"):
        RunReader(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "run.db").write_bytes(b"no database at all, but long enough to look like one" * 40)
    with pytest.raises(StoreError, match="cannot be"):
        RunReader(tmp_path)
    with pytest.raises(StoreError):
        RunStore.reopen(tmp_path)


def test_a_run_does_not_go_on_without_its_trials(tmp_path: Path) -> None:
    path = tmp_path / "r" / "run.db"
    with RunStore.create(tmp_path / "r", {}) as store:
        for trial in range(200):
            store.attempt(trial, "t", f"s{trial}", 0, 0, {}).finish("scored", 1.0)
    whole = path.read_bytes()
    for damaged, told in ((whole[: len(whole) // 2], "is damaged"), (b"", "is empty: the trials are lost")):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=told):
            RunStore.reopen(tmp_path / "r")
        assert path.read_bytes() == damaged
    path.unlink()
    with pytest.raises(StoreError, match=r"run\.db is missing: the trials are lost, start a new run"):
        RunStore.reopen(tmp_path / "r")
    assert not path.exists()
    path.write_bytes(whole)
    RunStore.reopen(tmp_path / "r").close()


def test_a_run_is_not_created_over_another(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "r", {}).close()
    with pytest.raises(StoreError, match="holds a run already"):
        RunStore.create(tmp_path / "r", {})


async def test_after_closing_nothing_is_acknowledged(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path / "r", {})
    recorder = begin(store)
    store.close()
    recorder.record(Note(at=1.0, text="too late"))
    with pytest.raises(StoreError, match="closed"):
        await recorder.durable()


async def test_a_finished_run_can_be_read_from_a_disk_that_cannot_be_written(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "r", {}) as store:
        recorder = begin(store)
        recorder.record(Note(at=1.0, text="kept"))
        await recorder.durable()
    script = (
        "import sys, pathlib\n"
        "from agentlab.traces.reader import RunReader\n"
        "print([stored.event.text for stored in RunReader(pathlib.Path(sys.argv[1])).events(0)])"
    )
    read_only = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", read_only, "sh", str(tmp_path / "r"), sys.executable, script]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if "ermitted" in ran.stderr or "denied" in ran.stderr:
        pytest.skip("mounting needs root")
    assert "['kept']" in ran.stdout, ran.stderr


def test_secrets_are_redacted_in_the_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-live-0123456789")
    document = {
        "config": {"api_key": "abc", "max_tokens": 512, "stop_token": "</s>", "api_key_env": "SOME_API_KEY"},
        "command": ["--set", "x=sk-live-0123456789"],
        "model": "http://user:hunter2@host:8000/v1#m",
        "judge": "judge=http://user:hun@ter2@host/v1#org/m@v1",
        "headers": {"Authorization": "Bearer abcdefgh12345678"},
    }
    with RunStore.create(tmp_path / "r", document) as store:
        text = (tmp_path / "r/run.json").read_text()
        kept = store.document()
        store.write_document({**kept, "status": "finished"})
        assert store.document()["status"] == "finished"
    assert "hunter2" not in text and "sk-live" not in text and "abcdefgh12345678" not in text
    assert kept["config"] == {
        "api_key": "[redacted]",
        "max_tokens": 512,
        "stop_token": "</s>",
        "api_key_env": "SOME_API_KEY",
    }
    assert kept["model"] == "http://[redacted]@host:8000/v1#m"
    assert kept["judge"] == "judge=http://[redacted]@host/v1#org/m@v1"
