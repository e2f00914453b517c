"""Traces of other tools become runs: what is in the files is in the run, turn for turn, and nothing is lost unsaid."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2e.command_line import Cli


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


async def imported(cli: Cli, path: Path | str, *options: str) -> dict[str, Any]:
    ended = await cli("traces", "import", str(path), "--json", *options)
    assert ended.code == 0, ended.err
    document: dict[str, Any] = ended.document
    return document


async def steps(cli: Cli, trial: int = 1) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await cli("traces", "show", "latest", str(trial), "--json")).document
    return found


@pytest.mark.data
async def test_a_run_of_several_agents_is_imported_turn_for_turn_with_their_names(
    cli: Cli, reference_data: Path
) -> None:
    file = reference_data / "traces_whowhen" / "algorithm_generated.jsonl"
    rows = lines(file)
    made = await imported(cli, file)
    assert (made["traces"], made["turns"]) == (len(rows), sum(len(row["history"]) for row in rows))
    samples = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert [row["sample"] for row in samples] == [row["question_ID"] for row in rows]
    assert {row["value"] for row in samples} == {float(row["is_correct"]) for row in rows}
    for trial in (1, 77, 126):
        row, shown = rows[trial - 1], await steps(cli, trial)
        history = row["history"]
        # seq is the place in the history: people's `mistake_step` counts in it.
        assert [(step["step"] - 1, step["message"]["name"]) for step in shown[: len(history)]] == [
            (place, turn["name"]) for place, turn in enumerate(history)
        ]
        assert [step["message"].get("content", "") for step in shown[: len(history)]] == [t["content"] for t in history]
        spoken = {step["message"]["name"]: step["message"]["role"] for step in shown[: len(history)]}
        assert spoken[row["mistake_agent"]] == "assistant" and spoken.get("Computer_terminal", "user") == "user"
        rest = shown[-1]["data"]["rest"]
        assert rest["mistake_agent"] == row["mistake_agent"] and rest["mistake_reason"] == row["mistake_reason"]
    table = await cli("results", "show", "latest")
    assert "algorithm_generated" in table.out and "126" in table.out


@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["traces_taubench_gpt4o_airline/gpt4o_airline_first50.jsonl", "traces_agentrx/tau_failed_trajectories.json"]
)
async def test_rows_of_tau_bench_keep_rewards_calls_and_answers(cli: Cli, reference_data: Path, name: str) -> None:
    file = reference_data / name
    rows = lines(file) if name.endswith(".jsonl") else json.loads(file.read_text(encoding="utf-8"))
    made = await imported(cli, file)
    assert made["traces"] == len(rows)
    samples = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert [row["value"] for row in samples] == [row["reward"] for row in rows]
    traj, shown = rows[2]["traj"], await steps(cli, 3)
    for place, message in enumerate(traj):
        step = shown[place]
        if message["role"] == "tool":
            assert step["type"] == "tool_call" and step["result"]["content"] == message["content"]
            assert step["call"]["name"] == message["name"]
        else:
            said = step["message"]
            assert (said["role"], said.get("content", "")) == (message["role"], message["content"] or "")
            calls = [call["function"] for call in message.get("tool_calls") or ()]
            assert [(call["name"], call.get("arguments", {})) for call in said.get("tool_calls", ())] == [
                (call["name"], json.loads(call["arguments"])) for call in calls
            ]
    assert shown[-2]["type"] == "score" and shown[-1]["data"]["rest"]["info"] == rows[2]["info"]


@pytest.mark.data
async def test_what_is_no_trace_in_a_folder_is_left_out_and_named(cli: Cli, reference_data: Path) -> None:
    ended = await cli("traces", "import", str(reference_data / "traces_agentrx"))
    assert ended.code == 0
    assert "TAXONOMY.json" in ended.err and "tau_ground_truth.json" in ended.err
    assert "129 agentrx" in ended.out


async def test_several_trials_of_a_sample_are_its_epochs(cli: Cli) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    rows = [{"task_id": task, "reward": reward, "traj": turns} for task in (1, 2) for reward in (1, 0, 1)]
    cli.write("tau.json", json.dumps(rows))
    await imported(cli, "tau.json", "--name", "hello tau")
    samples = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert [(row["sample"], row["epoch"]) for row in samples] == [(str(t), e) for t in (1, 2) for e in (1, 2, 3)]
    shown = await cli("results", "show", "latest")
    assert "pass^3" in shown.out and "hello-tau" in cli.run_dir.name


@pytest.mark.data
async def test_a_trace_that_nobody_graded_has_no_score(cli: Cli, reference_data: Path) -> None:
    file = reference_data / "traces_agentprocessbench" / "hotpotqa.jsonl"
    made = await imported(cli, file)
    assert made["traces"] == 100 and made["labels"]["final"] == 100 and "step_labels" not in made["kept"]
    (task,) = (await cli("results", "show", "latest", "--json")).document["tasks"]
    assert task["value"] is None and task["outcomes"]["verifier"] == 100
    shown = await steps(cli)
    assert [step["type"] for step in shown[:4]] == ["said", "said", "said", "tool_call"]


async def test_an_imported_run_is_not_resumed(cli: Cli) -> None:
    cli.write("chat.jsonl", json.dumps({"messages": [{"role": "user", "content": "hi"}]}))
    await imported(cli, "chat.jsonl")
    (await cli("run", "--resume", str(cli.run_dir))).refused(2, "imported", "cannot go on")


async def test_a_broken_record_is_named_and_leaves_no_run(cli: Cli) -> None:
    good = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
    bad = json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "wizard", "content": "x"}]})
    cli.write("chat.jsonl", f"{good}\n{bad}\n{good[:-3]}\n{good}\n")
    ended = await cli("traces", "import", "chat.jsonl")
    ended.refused(2, "chat.jsonl, line 2, messages[1].role", "wizard", "--skip-broken")
    assert not list((cli.home / "runs").glob("2*"))
    made = await imported(cli, "chat.jsonl", "--skip-broken")
    assert made["traces"] == 2
    assert [error.partition(":")[0] for error in made["broken"]] == [
        "chat.jsonl, line 2, messages[1].role",
        f"chat.jsonl, line 3, column {len(good) - 2}",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("deep.json", "[" * 200_000, ["deep.json", "nested"]),
        ("deep.jsonl", '{"messages":[{"role":"user","content":' + "[" * 500 + "]" * 500 + "}]}", ["line 1", "nested"]),
        ("none.json", '{"a": 1}', ["none.json", "no trace", "whowhen"]),
        ("empty.json", "", ["empty.json", "no JSON"]),
        ("latin.json", None, ["latin.json", "UTF-8"]),
    ],
)
async def test_files_that_are_no_traces_are_refused_in_a_sentence(
    cli: Cli, name: str, text: str | None, words: list[str]
) -> None:
    cli.write(name, text or "")
    if text is None:
        (cli.home / name).write_bytes(b'{"x": "\xff"}')
    (await cli("traces", "import", name)).refused(2, *words)


async def test_an_import_that_is_killed_leaves_nothing_that_looks_like_a_run(cli: Cli) -> None:
    row = json.dumps({"messages": [{"role": "user", "content": "hi " * 200}]})
    cli.write("chat.jsonl", f"{row}\n" * 20_000)
    # The processor's time is counted by the kernel, which kills at its end: in the middle of what takes half a minute.
    limited = replace(cli, command=("prlimit", "--cpu=2:2", *cli.command))
    assert (await limited("traces", "import", "chat.jsonl")).code == -signal.SIGKILL
    workplace = cli.home / "runs" / ".importing"
    (await cli("results", "show", "latest")).refused(2, "no runs")
    (left,) = workplace.iterdir()
    an_hour_ago = time.time() - 3600
    os.utime(left, (an_hour_ago, an_hour_ago))
    cli.write("chat.jsonl", f"{row}\n")
    made = await imported(cli, "chat.jsonl")
    assert [path.name for path in (cli.home / "runs").iterdir() if path.is_dir()] == [made["run"]]


async def test_a_name_that_is_nothing_and_a_format_that_is_none(cli: Cli) -> None:
    (await cli("traces", "import", "nothing.json")).refused(2, "nothing.json", "no such file")
    cli.write("chat.jsonl", "{}")
    (await cli("traces", "import", "chat.jsonl", "--format", "morse")).refused(2, "morse", "openai")


async def test_what_others_found_in_a_trace_comes_in_as_labels_with_whose_they_are(cli: Cli) -> None:
    """And the trial is labelled by our detectors, as one that ran here."""
    history = [{"role": "assistant", "name": name, "content": f"{name} speaks."} for name in ("Planner", "Coder")]
    found = {"mistake_agent": "Coder", "mistake_step": "1", "mistake_reason": "It made \x1b[2Jthat up."}
    record = {"question_ID": "q1", "question": "?", "history": history, "is_correct": False, **found}
    cli.write("who.jsonl", "\n".join(json.dumps({**record, **more}) for more in ({}, {"mistake_step": "7"})))
    made = await imported(cli, "who.jsonl")
    assert made["labels"] == {"cause": 1}, "a step that is not there is not labelled"
    shown = await steps(cli)
    assert shown[1]["labels"] == ["cause:unknown"] and shown[-1]["data"]["rest"]["mistake_step"] == "1"
    head = (await cli("traces", "show", "latest", "1")).out
    assert "label cause:unknown by person whowhen: agent Coder; It made that up." in head
    assert "label failure:result.wrong by detector taxonomy/2 (failures/2)" in head
    (task,) = (await cli("results", "show", "latest", "--json")).document["tasks"]
    assert task["failures"]["n"] == 2 and task["failures"]["unexplained"]["share"] == 1.0

    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    cli.write(
        "rows.jsonl", json.dumps({"id": "r", "messages": talk, "step_labels": {"1": -1, "9": 1}, "final_label": -1})
    )
    assert (await imported(cli, "rows.jsonl"))["labels"] == {"step": 1, "final": 1}


async def test_agentrx_keeps_its_labels_in_a_file_of_its_own(cli: Cli) -> None:
    traj = [{"index": n, "role": role, "content": "."} for n, role in enumerate(("user", "assistant", "user"), 1)]
    rows = [{"task_id": task, "trial": 0, "reward": 0.0, "traj": traj, "info": {}} for task in (2, 5)]
    fault = {"failure_id": 1, "step_number": 2, "failure_category": "instruction adherence failure"}
    label = {
        "trajectory_id": 2,
        "failures": [{**fault, "failed_agent": "Assistant", "step_reason": "It skipped a step."}],
        "root_cause": {"failure_id": 1},
    }
    cli.write("runs.json", json.dumps(rows))
    cli.write("labels.json", json.dumps([label]))
    made = await imported(cli, "runs.json", "--labels", "labels.json")
    assert made["labels"] == {"cause": 1, "fault": 1}
    (labelled,) = (await cli("traces", "list", "latest", "--label", "cause", "--json")).document
    assert labelled["sample"] == "2" and "cause:Instruction/Plan Adherence Failure" in labelled["labels"]

    for name, document, word in (
        ("not.json", {"a": 1}, "no labels of AgentRx"),
        ("other.json", [{**label, "trajectory_id": 9}], "none of them was imported"),
        ("beyond.json", [{**label, "failures": [{**fault, "step_number": 9, "failed_agent": "a"}]}], "about step 9"),
    ):
        cli.write(name, json.dumps(document))
        (await cli("traces", "import", "runs.json", "--labels", name)).refused(2, word)
    cli.write("twice.json", json.dumps([rows[0], rows[0]]))
    (await cli("traces", "import", "twice.json", "--labels", "labels.json")).refused(2, "cannot be told")
    (await cli("traces", "import", "runs.json", "--labels", "gone.json")).refused(2, "gone.json")
    (await cli("traces", "import", "labels.json")).refused(2, "give the file with --labels")
