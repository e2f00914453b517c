"""Reading traces in the terminal: lists with filters, single steps, a pager, and two trials side by side."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest
from e2e.command_line import Cli
from e2e.test_cli_terminal import Terminal
from e2e.test_cli_traces_import import imported

LONG = "\n".join(f"line {number}" for number in range(100))


def trial(task: int, reward: float | None, *answers: str, output: str = "[]") -> dict[str, Any]:
    call = {"id": f"c{task}", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}
    traj = [
        {"role": "user", "content": "Find it."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"c{task}", "name": "find", "content": output},
        *({"role": "assistant", "content": answer} for answer in answers),
    ]
    return {"task_id": task, "reward": reward, "traj": traj}


ROWS = [
    trial(1, 1, "Found at 12:00:01 in 0x7f00deadbeef."),
    trial(1, 0, "Not found.", "I give up.", output="no such thing"),
    trial(1, 1, "Found at 14:30:59 in 0x7f00cafe0000."),
    trial(1, None, LONG),
]


async def tau(cli: Cli, name: str = "tau.json") -> str:
    cli.write(name, json.dumps(ROWS))
    run: str = (await imported(cli, name))["run"]
    return run


async def test_trials_are_listed_and_filtered(cli: Cli) -> None:
    await tau(cli)
    rows = (await cli("traces", "list", "latest", "--json")).document
    assert [(row["trial"], row["outcome"], row["value"], row["steps"]) for row in rows] == [
        (1, "scored", 1.0, 6), (2, "scored", 0.0, 7), (3, "scored", 1.0, 6), (4, "verifier", None, 5),
    ]  # fmt: skip
    failed = (await cli("traces", "list", "latest", "--failed", "--json")).document
    assert [row["trial"] for row in failed] == [2, 4]
    table = await cli("traces", "list", "latest", "--limit", "2")
    assert "tau/1@2" in table.out and "tau/1@3" not in table.out and "traces show" in table.out
    (await cli("traces", "list", "latest", "--task", "tua")).refused(2, "tua", "did you mean tau?")
    nothing = await cli("traces", "list", "latest", "--label", "failure:gave_up")
    assert nothing.code == 0 and "no trial is like that" in nothing.out


async def test_one_step_is_shown_whole(cli: Cli) -> None:
    await tau(cli)
    cut, whole = await cli("traces", "show", "latest", "4"), await cli("traces", "show", "latest", "4", "--step", "4")
    assert "line 50" not in cut.out and "line 50" in whole.out and "Find it." not in whole.out
    (only,) = (await cli("traces", "show", "latest", "4", "--step", "3", "--json")).document
    assert only["step"] == 3 and only["call"]["name"] == "find"
    (await cli("traces", "show", "latest", "4", "--step", "9")).refused(2, "no step 9", "there are 5")


async def test_what_is_longer_than_the_window_goes_through_a_pager(cli: Cli) -> None:
    await tau(cli)
    cli.env["PAGER"] = "sed s/^/paged:/"
    long = await Terminal().run(cli, "traces", "show", "latest", "4", "--full")
    assert any(line.startswith("paged:") and "line 99" in line for line in long)
    short = await Terminal().run(cli, "traces", "show", "latest", "4", "--step", "1")
    assert not any(line.startswith("paged:") for line in short)
    piped = await cli("traces", "show", "latest", "4", "--full")
    assert "paged:" not in piped.out and "line 99" in piped.out


@pytest.mark.skipif(shutil.which("less") is None, reason="there is no `less` here")
async def test_less_shows_bold_as_bold_and_not_as_escape_codes(cli: Cli) -> None:
    await tau(cli)
    cli.env["PAGER"] = cli.env["LESS"] = ""
    terminal = Terminal()
    process = await terminal.start(cli, "traces", "show", "latest", "4", "--full")
    await terminal.until(lambda seen: "model" in seen)
    os.write(terminal.master, b"q")
    seen = await terminal.until()
    assert await process.wait() == 0
    os.close(terminal.master)
    assert "\x1b[1m" in seen and "ESC" not in seen


async def test_two_trials_part_at_the_first_step_that_differs(cli: Cli) -> None:
    run = await tau(cli)
    found = (await cli("traces", "diff", "latest", "1", "2", "--json")).document
    parting = found["parting"]
    assert (found["alike"], parting["first"], parting["second"], parting["differs"]) == (2, 3, 3, "the output of find")
    assert "[]" in parting["first_text"] and "no such thing" in parting["second_text"]
    assert [(pair["first"], pair["second"]) for pair in found["steps"]][-1] == (None, 5)
    shown = await cli("traces", "diff", "latest", "1", "2")
    assert "they part at step 3 and 3: the output of find" in shown.out and "no such thing" in shown.out
    # Times and addresses are left aside; another run's trial has its run before it.
    other = await tau(cli, "other.json")
    alike = await cli("traces", "diff", run, "1", f"{other}:3")
    assert "both are alike to the end" in alike.out and f"{other}:3" in alike.out
    (await cli("traces", "diff", run, "1", f"{other}:9")).refused(2, "no trial 9", other)
    (await cli("traces", "diff", run, "1", "nine")).refused(2, "no trial nine")


async def test_chat_rows_otlp_and_parquet_hold_the_same_trials(cli: Cli) -> None:
    import pyarrow.parquet as pq

    await tau(cli)
    for name in ("openai", "otlp", "parquet"):
        ended = await cli("traces", "export", "latest", "--format", name, "--out", name)
        assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in (cli.home / "openai/chat.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"tau/1@{epoch}" for epoch in (1, 2, 3, 4)]
    told = [{key: value for key, value in m.items() if key != "name"} for m in ROWS[1]["traj"]]
    calls = [{**message, "content": message["content"] or ""} for message in told]
    assert rows[1]["messages"] == calls and rows[1]["metadata"]["value"] == 0.0

    requests = [json.loads(line) for line in (cli.home / "otlp/traces.jsonl").read_text().splitlines()]
    (scope,) = requests[1]["resourceSpans"][0]["scopeSpans"]
    root, *spans = scope["spans"]
    assert "parentSpanId" not in root and {span["parentSpanId"] for span in spans} == {root["spanId"]}
    assert {span["traceId"] for span in scope["spans"]} == {root["traceId"]} and len(root["traceId"]) == 32
    assert [span["name"] for span in spans] == ["chat", "execute_tool find", "chat", "chat"]
    tool = {item["key"]: item["value"] for item in spans[1]["attributes"]}
    assert tool["gen_ai.operation.name"] == {"stringValue": "execute_tool"}
    assert json.loads(tool["gen_ai.tool.call.arguments"]["stringValue"]) == {"q": 1}
    assert tool["gen_ai.tool.call.result"] == {"stringValue": "no such thing"}
    (verdict,) = root["events"]
    assert verdict["name"] == "gen_ai.evaluation.result" and root["kind"] == 1 and spans[0]["kind"] == 3

    trials, steps = (pq.read_table(cli.home / f"parquet/{name}.parquet").to_pylist() for name in ("trials", "steps"))
    assert [row["value"] for row in trials] == [1.0, 0.0, 1.0, None]
    assert [(row["seq"], row["role"]) for row in steps if row["trial"] == 1] == [
        (0, "user"), (1, "assistant"), (2, "tool"), (3, "assistant"),
    ]  # fmt: skip
    assert (await cli("traces", "import", "openai")).code == 0
    again = (await cli("traces", "show", "latest", "2", "--json")).document
    assert [step["type"] for step in again] == ["said", "said", "tool_call", "said", "said", "note"]


async def test_what_is_too_long_to_be_lined_up_is_not_called_alike(cli: Cli) -> None:
    talk = [{"role": "assistant", "content": "."}] * 5003
    cli.write("long.jsonl", json.dumps({"messages": [{"role": "user", "content": "hi"}, *talk]}))
    await cli("traces", "import", "long.jsonl")
    said = (await cli("traces", "diff", "latest", "1", "1")).out
    assert "4 steps behind these were not compared" in said and "alike so far" in said
    assert (await cli("traces", "diff", "latest", "1", "1", "--json")).document["not_compared"] == 4


async def test_words_that_make_no_sense_are_answered_in_a_line(cli: Cli) -> None:
    run = await tau(cli)
    for word in ("9" * 30, "\u00b2", "-1", "x" * 5000, "\x1b[2J"):
        said = (await cli("traces", "show", run, "--", word)).refused(2, "there is no trial", "TASK/SAMPLE@EPOCH")
        assert len(said) < 400 and "\x1b" not in said
    for options, words in (
        (("fork", run, "1", "--step", "1", "--success", "nan"), "no finite number"),
        (("fork", run, "1", "--step", "1", "--n", "9" * 12), "--n"),
        (("import", "/dev/zero"), "no regular file"),
        (("train", "tau.json", "--out", "nowhere/w.json"), "no folder nowhere"),
    ):
        (await cli("traces", *options)).refused(2, words)
    (await cli("label", "export", run, "--out", "nowhere/labels.csv")).refused(2, "no folder nowhere")
    done = await cli("traces", "export", run, "--format", "openai", "--out", "out", "--json")
    assert done.document["trials"] == len((await cli("traces", "list", run, "--json")).document)
