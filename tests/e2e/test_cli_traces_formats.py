"""Logs and trajectories of Inspect, SWE-agent and Harbor, through the command line: what comes in, what goes out, and
what hostile files can do (nothing).
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zstandard
from e2e.command_line import Cli
from e2e.test_cli_traces_import import imported, steps

SCHEMA = Path(__file__).parent.parent / "schemas" / "atif_v1.8.schema.json"
PNG = b"\x89PNG\r\n\x1a\n not really"


async def exported(cli: Cli, out: str, *options: str) -> list[dict[str, Any]]:
    """The ATIF documents of the latest run, each valid; there is nothing else in the folder."""
    ended = await cli("traces", "export", "latest", "--format", "atif", "--out", out, *options)
    assert ended.code == 0, ended.err
    schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    documents = []
    for path in sorted((cli.home / out).iterdir()):
        document = json.loads(path.read_text(encoding="utf-8"))
        schema.validate(document)
        assert [step["step_id"] for step in document["steps"]] == list(range(1, len(document["steps"]) + 1))
        documents.append(document)
    return documents


@pytest.mark.data
async def test_inspect_logs_keep_messages_scores_tokens_and_times(cli: Cli, reference_data: Path) -> None:
    folder = reference_data / "logs_inspect_ai"
    logs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    made = await imported(cli, folder)
    assert made["traces"] == sum(len(log["samples"]) for log in logs)
    tasks = (await cli("results", "show", "latest", "--json")).document["tasks"]
    for log, task in zip(logs, tasks, strict=True):
        (usage,) = log["stats"]["model_usage"].values()
        assert task["value"] == pytest.approx(log["results"]["scores"][0]["metrics"]["accuracy"]["value"])
        assert task["tokens"] == {"input": usage["input_tokens"], "output": usage["output_tokens"]}
    shown, sample = await steps(cli, 2), logs[0]["samples"][1]
    said = [(step["message"]["role"], step["message"]["content"]) for step in shown[: len(sample["messages"])]]
    assert said == [(message["role"], message["content"]) for message in sample["messages"]]
    (answered,) = [event["completed"] for event in sample["events"] if event["event"] == "model"]
    assert shown[2]["at"] == datetime.fromisoformat(answered).timestamp()
    assert shown[-1]["data"]["rest"]["events"] == sample["events"]


@pytest.mark.data
async def test_commands_of_software_agents_are_tool_calls_with_their_outputs(cli: Cli, reference_data: Path) -> None:
    folder = reference_data / "traces_sweagent_format"
    files = sorted(folder.iterdir())
    made = await imported(cli, folder)
    assert made["traces"] == len(files) and not made["broken"] and not made["unknown"]
    for trial, path in enumerate(files, 1):
        document = json.loads(path.read_text(encoding="utf-8"))
        messages = document if isinstance(document, list) else document["history"]
        if trial not in (3, 10, 18):
            continue
        shown = (await steps(cli, trial))[: len(messages)]
        for step, message in zip(shown, messages, strict=True):
            text = step["result"]["content"] if step["type"] == "tool_call" else step["message"].get("content", "")
            assert text == message["content"]
        assert sum(step["type"] == "tool_call" for step in shown) >= len(messages) // 2 - 2


TRAJECTORY: dict[str, Any] = {
    "schema_version": "ATIF-v1.6",
    "session_id": "s",
    "agent": {"name": "walker", "version": "2", "model_name": "m", "extra": {"seed": 1}},
    "notes": "a note",
    "steps": [
        {
            "step_id": 1,
            "source": "user",
            "message": [
                {"type": "text", "text": "Look."},
                {"type": "image", "source": {"media_type": "image/png", "path": "images/a.png"}},
                {"type": "image", "source": {"media_type": "image/png", "path": "../../outside.png"}},
            ],
        },
        {
            "step_id": 2,
            "source": "agent",
            "message": "I ask another.",
            "reasoning_content": "hm",
            "timestamp": "2026-11-20T15:00:01Z",
            "tool_calls": [{"tool_call_id": "c", "function_name": "delegate", "arguments": {"to": "b", "big": 2**70}}],
            "observation": {
                "results": [
                    {
                        "source_call_id": "c",
                        "content": "done",
                        "subagent_trajectory_ref": [{"trajectory_id": "child"}],
                        "extra": {"duration_ms": 12.5},
                    },
                    {"content": None, "extra": {"x": [1, None]}},
                ]
            },
            "metrics": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_token_ids": [1, 2], "logprobs": [-0.1]},
            "llm_call_count": 1,
            "is_copied_context": False,
        },
    ],
    "subagent_trajectories": [
        {
            "trajectory_id": "child",
            "agent": {"name": "b", "version": "1"},
            "steps": [{"step_id": 1, "source": "agent", "message": "hi"}],
        }
    ],
    "extra": {"mine": {"deep": [[]]}},
}


async def test_atif_comes_out_as_it_went_in_with_images_and_agents_below_agents(cli: Cli) -> None:
    cli.write("in/t.json", json.dumps(TRAJECTORY))
    cli.write("outside.png", "secret")
    (cli.home / "in/images").mkdir()
    (cli.home / "in/images/a.png").write_bytes(PNG)
    made = await imported(cli, "in")
    assert {"notes", "extra", "steps.metrics"} <= set(made["kept"]) and "subagent_trajectories" not in made["kept"]
    assert await exported(cli, "out") == [TRAJECTORY]
    (older,) = await exported(cli, "older", "--atif-version", "1.7")
    assert older == TRAJECTORY | {"schema_version": "ATIF-v1.7"}
    shown = await steps(cli)
    assert [step["type"] for step in shown[:6]] == ["said", "said", "note", "said", "tool_call", "said"]
    assert "b works for walker, who asked at step 2" in shown[2]["text"]
    assert [step["message"].get("name") for step in (shown[1], shown[3])] == ["walker", "b"]
    parts = shown[0]["message"]["content"]
    assert parts[1]["sha256"] and parts[2]["text"] == "[image ../../outside.png]"
    assert shown[4]["duration_ms"] == 12.5 and shown[4]["call"]["arguments"] == {"to": "b", "big": 2**70}
    kept = [path.read_bytes() for path in (cli.run_dir / "artifacts").rglob("*") if path.is_file()]
    assert kept == [PNG]


@pytest.mark.data
async def test_every_imported_format_is_exported_as_valid_atif(cli: Cli, reference_data: Path) -> None:
    await imported(cli, reference_data / "traces_whowhen" / "algorithm_generated.jsonl")
    documents = await exported(cli, "whowhen", *(word for trial in "159" for word in ("--trial", trial)))
    assert len(documents) == 3
    assert documents[0]["steps"][0]["extra"]["agent"] and documents[0]["extra"]["agentlab"]["value"] == 0.0
    await imported(cli, reference_data / "traces_sweagent_format")
    assert len(await exported(cli, "swe", "--trial", "3", "--trial", "18")) == 2


@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.bubblewrap
async def test_every_trace_of_the_quickstart_suite_is_valid_atif_and_keeps_what_we_know(cli: Cli) -> None:
    ran = await cli(
        "run", "quickstart", "--model", "reference", "--harness", "tools", "--sandbox", "bubblewrap", "--json"
    )
    assert ran.code == 0, ran.err
    documents = await exported(cli, "out")
    assert len(documents) == sum(task["trials"] for task in ran.document["tasks"])
    results = [r for d in documents for s in d["steps"] for r in s.get("observation", {}).get("results", ())]
    assert results and all(result["extra"]["duration_ms"] >= 0 and "seq" in result["extra"] for result in results)
    assert {d["extra"]["agentlab"]["outcome"] for d in documents} == {"scored"}
    # And again through an import: trials keep their names, and nothing changes.
    await imported(cli, "out")
    assert await exported(cli, "again") == documents
    samples = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert {row["task"] for row in samples} == {task["task"] for task in ran.document["tasks"]}
    full = await cli("traces", "export", "latest", "--format", "atif", "--out", "again")
    full.refused(2, "again", "not empty")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": []}, ["steps", "at least one"]),
        ({"agent": {"name": 3, "version": "1"}}, ["agent.name", "str"]),
        ({"schema_version": "ATIF-v2.0"}, ["ATIF-v1.8", "ATIF-v2.0"]),
        ({"steps": [{"step_id": 1, "source": "wizard", "message": "x"}]}, ["steps[", "wizard"]),
    ],
)
async def test_a_wrong_field_of_a_trajectory_is_named(cli: Cli, change: dict[str, Any], words: list[str]) -> None:
    cli.write("t.json", json.dumps(TRAJECTORY | change))
    (await cli("traces", "import", "t.json")).refused(2, "t.json", *words)


def archive(path: Path, members: dict[str, bytes], method: int = 93) -> None:
    """A zip as Inspect writes it: members packed by zstd, which zipfile itself can neither write nor read here."""
    packer = zstandard.ZstdCompressor()
    body, directory = b"", b""
    for name, data in members.items():
        packed = packer.compress(data) if method == 93 else data
        sizes = (zlib.crc32(data), len(packed), len(data), len(name), 0)
        local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 63, 0, method, 0, 33, *sizes)
        central = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 63, 63, 0, method, 0, 33, *sizes, 0, 0, 0, 0, len(body))
        directory += central + name.encode()
        body += local + name.encode() + packed
    count = len(members)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    path.write_bytes(body + directory + end)


def log_members(samples: int = 3) -> dict[str, bytes]:
    header = {"version": 2, "status": "success", "eval": {"task": "sums", "model": "m"}, "results": {"total": samples}}
    members = {"header.json": json.dumps(header).encode()}
    for number in range(1, samples + 1):
        messages = [{"role": "user", "content": f"q{number}"}, {"role": "assistant", "content": "a"}]
        sample = {"id": number, "epoch": 1, "messages": messages, "scores": {"match": {"value": "CIP"[number % 3]}}}
        members[f"samples/{number}_epoch_1.json"] = json.dumps(sample).encode()
    return members


async def test_an_archive_of_inspect_is_read_sample_by_sample(cli: Cli) -> None:
    archive(cli.home / "log.eval", log_members(12))
    assert zipfile.ZipFile(cli.home / "log.eval").namelist()[0] == "header.json"
    made = await imported(cli, "log.eval")
    assert made["traces"] == 12 and made["kept"]["log"] == 1
    samples = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert [row["sample"] for row in samples] == [str(number) for number in range(1, 13)]
    assert [row["value"] for row in samples[:3]] == [0.0, 0.5, 1.0]


async def test_hostile_archives_are_refused_by_name_and_cost_little(cli: Cli) -> None:
    bomb = log_members(1) | {"samples/2_epoch_1.json": b'"' + b"a" * (300 << 20) + b'"'}
    archive(cli.home / "bomb.eval", bomb)
    assert (cli.home / "bomb.eval").stat().st_size < 1 << 20
    (await cli("traces", "import", "bomb.eval")).refused(2, "bomb.eval", "samples/2_epoch_1.json", "256 MiB")
    whole = (cli.home / "bomb.eval").read_bytes()
    (cli.home / "cut.eval").write_bytes(whole[: len(whole) // 2])
    (await cli("traces", "import", "cut.eval")).refused(2, "cut.eval", "damaged")
    archive(cli.home / "other.eval", {"readme": b"x"})
    (await cli("traces", "import", "other.eval")).refused(2, "header.json")
    archive(cli.home / "odd.eval", log_members(1), method=14)
    (await cli("traces", "import", "odd.eval")).refused(2, "method 14")
