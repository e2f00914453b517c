"""What a run prints and stores: one JSON document, every number of which can be computed again from `run.db`."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from array import array
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from e2e.command_line import Cli, asked, question, quiz, solve
from endpoints import Endpoint, chat, status

from agentlab.service.labelling import add_labels
from agentlab.traces.rows import Label

N = 30
TASK_KEYS = {
    "task", "route", "n", "trials", "metric", "value", "stderr", "ci95", "mde80", "bounds", "outcomes", "flags",
    "labels", "tokens", "cost_usd", "latency_ms", "sandbox_seconds",
}  # fmt: skip
SAMPLE_KEYS = {
    "trial", "task", "sample", "epoch", "attempt", "outcome", "value", "scores", "flags", "route", "labels",
}  # fmt: skip
OUTCOMES = {"scored", "model", "sandbox", "task", "verifier", "cancelled"}


def mixed(body: dict[str, Any], request: Any) -> Any:
    """Right and wrong answers, one that is empty, one that is cut off, one that fails, and tokens that differ."""
    name = question(body)
    number = int(name[1:])
    if name == "q5":
        return status(400, "no sums on Fridays")(body, request)
    if name == "q7":
        return chat("", usage={"prompt_tokens": 3, "completion_tokens": 0})
    finish = "length" if name == "q9" else "stop"
    answer = str(2 * number + (number % 3 == 0))
    return chat(answer, finish=finish, usage={"prompt_tokens": 100 + number, "completion_tokens": number})


async def measured(cli: Cli, endpoint: Endpoint, *args: str) -> dict[str, Any]:
    endpoint.behave = mixed
    cli.write("quiz.py", quiz(N))
    cli.write("prices.yaml", "tiny: {input: 1000, output: 2000}\n")
    ended = await cli(
        "run", "quiz.py", "--model", endpoint.spec(), "--set", "endpoint.prices=prices.yaml", "--json", *args
    )
    assert ended.code == 0, ended.err
    document: dict[str, Any] = ended.document
    return document


def attempts(run_dir: Path) -> list[dict[str, Any]]:
    """The last attempts, by nothing but SQL."""
    with closing(sqlite3.connect(run_dir / "run.db")) as database:
        database.row_factory = sqlite3.Row
        query = "SELECT * FROM trials t JOIN attempts a ON a.trial = t.trial AND a.attempt = t.attempt ORDER BY t.trial"
        return [dict(row) for row in database.execute(query)]


def percentile(values: list[float], percent: float) -> float:
    """By linear interpolation."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


async def test_every_number_of_the_document_can_be_computed_again(cli: Cli, endpoint: Endpoint) -> None:
    document = await measured(cli, endpoint)
    assert {"run_id", "run_dir", "tasks", "suites", "errors"} <= set(document)
    assert document["run_id"] == cli.run_dir.name and Path(document["run_dir"]) == Path("runs") / cli.run_dir.name
    (task,) = document["tasks"]
    assert set(task) >= TASK_KEYS and set(task["outcomes"]) == OUTCOMES
    assert set(task["latency_ms"]) == {"p50", "p95", "p99", "ttft_p50"}
    rows = attempts(cli.run_dir)
    values = [row["value"] for row in rows if row["outcome"] == "scored"]
    n, right = len(values), sum(values)
    mean = right / n
    stderr = math.sqrt(sum((value - mean) ** 2 for value in values) / (n * (n - 1)))
    z = 1.959963984540054
    middle, half = mean + z * z / (2 * n), z * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    wilson = [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]
    assert (task["n"], task["trials"]) == (n, len(rows)) == (N - 1, N)
    assert task["value"] == pytest.approx(mean, abs=1e-12) and 0 < mean < 1
    assert task["stderr"] == pytest.approx(stderr, abs=1e-12)
    assert task["ci95"] == pytest.approx(wilson, abs=1e-12)
    assert task["mde80"] == pytest.approx((z + 0.8416212335729143) * stderr, abs=1e-12)
    assert task["bounds"] == pytest.approx([right / N, (right + 1) / N], abs=1e-12)
    counts = Counter(row["outcome"] for row in rows)
    assert task["outcomes"] == {name: counts[name] for name in OUTCOMES} and counts["model"] == 1
    assert task["flags"] == Counter(flag for row in rows for flag in json.loads(row["flags"] or "[]"))
    assert task["flags"] == {"empty": 1, "truncated": 1}
    tokens = {"input": sum(row["input_tokens"] for row in rows), "output": sum(row["output_tokens"] for row in rows)}
    assert task["tokens"] == tokens
    assert tokens["output"] == sum(number for number in range(N) if number not in (5, 7))
    assert task["cost_usd"] == pytest.approx(sum(row["cost_usd"] or 0 for row in rows))
    assert task["cost_usd"] == pytest.approx((tokens["input"] * 1000 + tokens["output"] * 2000) / 1e6)
    latencies = [value for row in rows for value in array("f", row["latencies_ms"] or b"")]
    for name, percent in (("p50", 50), ("p95", 95), ("p99", 99)):
        assert task["latency_ms"][name] == pytest.approx(percentile(latencies, percent), abs=2e-3)
    assert task["sandbox_seconds"] == 0 and task["route"] == {"agent": "direct", "scorer": "direct"}
    (error,) = document["errors"]
    assert (error["task"], error["sample"]) == ("quiz", "q5") and "no sums on Fridays" in error["message"]


async def test_samples_are_one_row_a_trial_with_its_last_attempt(cli: Cli, endpoint: Endpoint) -> None:
    document = await measured(cli, endpoint, "--epochs", "2", "--limit", "10")
    rows = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert all(set(row) == SAMPLE_KEYS for row in rows)
    assert [row["trial"] for row in rows] == list(range(1, 21))
    assert Counter((row["sample"], row["epoch"]) for row in rows) == Counter(
        (row["sample"], epoch) for row in attempts(cli.run_dir)[::2] for epoch in (1, 2)
    )
    (task,) = document["tasks"]
    scored = [row["value"] for row in rows if row["outcome"] == "scored"]
    assert task["value"] == pytest.approx(sum(scored) / len(scored)) and task["trials"] == 20
    both: dict[str, list[float]] = {}
    for row in rows:
        if row["outcome"] == "scored":
            both.setdefault(row["sample"], []).append(row["value"])
    further = {metric["name"]: metric["value"] for metric in task["metrics"]}
    assert further["pass@2"] == pytest.approx(sum(max(pair) for pair in both.values()) / len(both))
    assert all(row["route"]["agent"] == "direct" for row in rows)


async def test_a_pass_at_k_that_has_too_few_epochs_is_no_dash_in_the_summary(cli: Cli) -> None:
    text = quiz(2).replace("scorers=[", "metrics=[mean(), pass_at(10)], scorers=[")
    file = cli.write("quiz.py", f"{text}\nfrom agentlab.tasks.metrics import mean, pass_at\n")
    ended = await cli("run", file, "--model", "reference")
    assert ended.code == 0 and "pass@10" not in ended.out, ended.err
    (metric,) = (await cli("results", "show", "latest", "--json")).document["tasks"][0]["metrics"]
    assert (metric["name"], metric["value"]) == ("pass@10", None)


async def test_a_trial_that_was_tried_again_is_one_row_of_samples_and_each_of_attempts(
    cli: Cli, endpoint: Endpoint
) -> None:
    endpoint.behave = mixed
    cli.write("quiz.py", quiz(9))
    assert (await cli("run", "quiz.py", "--model", endpoint.spec())).code == 0
    endpoint.behave = solve
    assert (await cli("run", "--resume", "latest")).code == 0
    rows = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert [(row["trial"], row["attempt"]) for row in rows] == [(n, 2 if n == 6 else 1) for n in range(1, 10)]
    again, empty = rows[5], rows[7]
    assert again == {
        "trial": 6, "task": "quiz", "sample": "q5", "epoch": 1, "attempt": 2, "outcome": "scored", "value": 1.0,
        "scores": {}, "flags": [], "route": {"agent": "direct", "scorer": "direct", "scaffold": "direct"}, "labels": [],
    }  # fmt: skip
    assert (empty["sample"], empty["outcome"], empty["value"], empty["flags"]) == ("q7", "scored", 0.0, ["empty"])
    every = (await cli("results", "show", "latest", "--attempts", "--json")).document
    tried = [(row["attempt"], row["outcome"], row["value"]) for row in every if row["sample"] == "q5"]
    assert tried == [(1, "model", None), (2, "scored", 1.0)] and len(every) == 10
    first = (await cli("traces", "show", "latest", "6", "--attempt", "1")).out
    assert "attempt 1 of 2: model\n" in first and "no sums on Fridays" in first


async def test_the_document_is_stored_and_shown_again(cli: Cli, endpoint: Endpoint) -> None:
    document = await measured(cli, endpoint, "--name", "Friday sums", "--tag", "try", "--tag", "weekly")
    shown = (await cli("results", "show", "latest", "--json")).document
    assert {key: shown[key] for key in ("run_id", "tasks", "suites", "errors")} == {
        key: document[key] for key in ("run_id", "tasks", "suites", "errors")
    }
    (entry,) = (await cli("results", "list", "--json")).document
    assert entry["run"] == document["run_id"] and "friday-sums" in entry["run"]
    assert (entry["name"], entry["tags"], entry["status"]) == ("Friday sums", ["try", "weekly"], "finished")
    stored = json.loads((cli.run_dir / "run.json").read_text())
    assert stored["summary"]["tasks"] == document["tasks"] and stored["config"]["seed"] == 0
    table = (await cli("results", "show", document["run_id"][:18])).out
    said = f"model {stored['model']}, harness direct, limit none, epochs 1, seed 0, created {stored['created_at']}"
    assert table.startswith(f"{said}, status finished\n") and "resume with" not in table
    listed = (await cli("results", "list")).out
    assert re.search(r"run +status +model +created \(UTC\) +name +tags", listed)
    assert listed.endswith(f"look closer: agentlab results show {document['run_id']}\n")
    assert table.endswith(f"every trial: agentlab results show {document['run_id']} --samples\n")
    samples = (await cli("results", "show", "latest", "--samples")).out
    assert re.search(r"flags +error *\n", samples)
    failed = [line for line in samples.splitlines() if "no sums on Fridays" in line]
    trial = failed[0].split()[0]
    assert len(failed) == 1
    assert samples.endswith(f"one step by step: agentlab traces show {document['run_id']} {trial}\n")
    assert (await cli("traces", "show", document["run_id"], trial)).out.startswith(f"trial {trial}: quiz/q5@1")
    assert f"{document['tasks'][0]['value']:.3f}" in table and "1 model" in table and "no sums on Fridays" in table


async def test_the_same_error_is_said_once_and_a_run_that_stopped_can_be_resumed(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = status(400, "no sums today")
    cli.write("quiz.py", quiz(9))
    ended = await cli("run", "quiz.py", "--model", endpoint.spec())
    (line,) = [line for line in ended.out.splitlines() if "no sums today" in line]
    assert line.startswith("9 x quiz: model:") and "more errors" not in ended.out
    document = json.loads((cli.run_dir / "run.json").read_text())
    (cli.run_dir / "run.json").write_text(json.dumps(document | {"status": "interrupted"}))
    shown = (await cli("results", "show", "latest")).out
    assert "status interrupted" in shown
    assert shown.endswith(f"resume with: agentlab run --resume runs/{cli.run_dir.name}\n")


async def test_a_run_is_deleted_to_the_trash_and_restored(cli: Cli, endpoint: Endpoint) -> None:
    document = await measured(cli, endpoint, "--limit", "3")
    run = document["run_id"]
    deleted = await cli("results", "delete", run[:15])
    assert deleted.code == 0 and f"agentlab results restore {run}" in deleted.out and cli.runs == []
    assert (await cli("results", "list", "--json")).document == []
    (await cli("results", "show", "latest")).refused(2, "there are no runs")
    assert run in (await cli("results", "restore")).out
    (await cli("results", "restore", "1999")).refused(2, "1999", run)
    assert (await cli("results", "restore", run[:15])).code == 0
    assert (await cli("results", "show", "latest", "--json")).document["tasks"] == document["tasks"]
    (cli.home / "runs" / "index.db").unlink()
    assert (await cli("results", "list", "--json")).document[0]["run"] == run
    (await cli("results", "restore", "latest")).refused(2, "no run in the trash: it is empty")
    assert (await cli("results", "delete", "latest")).code == 0
    assert (await cli("results", "restore", "latest")).code == 0
    assert (await cli("results", "list", "--json")).document[0]["run"] == run


async def test_a_prefix_of_several_runs_is_refused_and_latest_is_the_last(cli: Cli) -> None:
    cli.write("quiz.py", quiz(1))
    for name in ("first", "second"):
        assert (await cli("run", "quiz.py", "--model", "reference", "--name", name)).code == 0
    (await cli("results", "show", "20")).refused(2, "the beginning of 2 runs", "first", "second")
    assert "second" in (await cli("results", "show", "latest", "--json")).document["run_id"]


async def test_a_run_that_cannot_be_read_is_named_and_a_run_elsewhere_is_hinted_at_by_its_path(cli: Cli) -> None:
    cli.write("quiz.py", quiz(1))
    assert (await cli("run", "quiz.py", "--model", "reference", "--runs-dir", "there")).code == 0
    (path,) = (cli.home / "there").glob("*/run.json")
    cli.write("there/broken/run.json", "{")
    listed = await cli("results", "list", "--runs-dir", "there")
    assert listed.code == 0 and "in there the run.json of broken cannot be read" in listed.err
    command = listed.out.splitlines()[-1].removeprefix("look closer: agentlab ")
    assert command == f"results show there/{path.parent.name}"
    assert (await cli(*command.split())).code == 0
    (await cli("results", "show", "nothing")).refused(2, "there is no run nothing in runs", "agentlab results list")


async def test_the_limit_is_a_sample_drawn_by_the_seed(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(N))

    async def drawn(*args: str) -> set[str]:
        endpoint.arrived.clear()
        ended = await cli("run", "quiz.py", "--model", endpoint.spec(), *args)
        assert ended.code == 0, ended.err
        assert set(asked(endpoint).values()) == {1}
        return set(asked(endpoint))

    five, again, other = (
        await drawn("--limit", "5"),
        await drawn("--limit", "5"),
        await drawn("--limit", "5", "--seed", "1"),
    )
    assert five == again != other and len(five) == len(other) == 5
    assert five < await drawn("--limit", "9")
    assert five != {f"q{number}" for number in range(5)}


async def test_epochs_ask_each_sample_as_often(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(4))
    await cli("run", "quiz.py", "--model", endpoint.spec(), "--epochs", "3")
    assert set(asked(endpoint).values()) == {3} and len(asked(endpoint)) == 4


async def test_the_run_stops_at_its_ceiling_of_cost_and_can_go_on_with_a_higher_one(
    cli: Cli, endpoint: Endpoint
) -> None:
    cli.write("quiz.py", quiz(N))
    cli.write("prices.yaml", "tiny: {input: 100000, output: 0}\n")  # 0.70 USD a question, at 7 tokens
    run = ("--model", endpoint.spec(), "--max-connections", "1", "--json")
    prices = ("--set", "endpoint.prices=prices.yaml")
    ended = await cli("run", "quiz.py", *run, *prices, "--max-cost", "5")
    assert ended.document["status"] == "cost" and "--max-cost" in ended.err
    (task,) = ended.document["tasks"]
    assert 5 <= task["cost_usd"] <= 6.4 and task["cost_usd"] == pytest.approx(0.7 * len(endpoint.arrived))
    (await cli("run", "--resume", "latest", "--json")).refused(2, "has cost 5.6", "a higher --max-cost")
    assert len(endpoint.arrived) == pytest.approx(task["cost_usd"] / 0.7)
    assert (await cli("run", "--resume", "latest", "--max-cost", "500")).code == 0
    assert set(asked(endpoint).values()) == {1} and len(asked(endpoint)) == N
    unpriced = await cli("run", "quiz.py", *run, "--max-cost", "5")
    unpriced.refused(2, "no price is known")


async def test_what_the_user_sets_reaches_the_model(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(1))
    settings = ("sampling.temperature=0.6", "sampling.top_p=0.9", "sampling.seed=7", "system=Be brief.")
    args = [word for setting in settings for word in ("--set", setting)]
    ended = await cli("run", "quiz.py", "--model", endpoint.spec(), "--set", "sampling.max_tokens=99", *args)
    assert ended.code == 0, ended.err
    (body,) = endpoint.bodies
    assert (body["temperature"], body["top_p"], body["seed"], body["max_tokens"]) == (0.6, 0.9, 7, 99)
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Question q0: what is 0 + 0?"),
    ]


async def test_the_plan_prints_routes_and_starts_nothing(cli: Cli, unused_tcp_port: int) -> None:
    absent = {"DOCKER_HOST": f"unix://{cli.home}/no.sock"}
    model = f"http://127.0.0.1:{unused_tcp_port}/v1#tiny"
    run = ("run", cli.write("quiz.py", quiz(7)), "quickstart", "--model", model, "--plan")
    planned = await cli(*run, "--harness", "tools", "--json", env=absent)
    rows = {row["task"]: row for row in planned.document["plan"]}
    assert {name: (row["n"], row["agent"], row["scorer"]) for name, row in rows.items()} == {
        "quiz": (7, "direct", "direct"),
        "quickstart_questions": (6, "direct", "direct"),
        "quickstart_programs": (5, "docker", "docker"),
        "quickstart_repairs": (4, "docker", "docker"),
    }
    assert all(set(row) == {"task", "n", "agent", "scorer", "image", "network", "why"} for row in rows.values())
    assert "no.sock does not answer" in planned.document["absent"]
    shown = (await cli(*run, "--harness", "direct", env=absent)).out
    assert "refused" in shown and "use --harness tools" in shown
    (said,) = [line for line in shown.splitlines() if "would not begin" in line]
    assert "no.sock does not answer" in said
    questions = await cli("run", "quickstart_questions", "--plan", "--json", env=absent)
    assert questions.document["absent"] == "", "no route needs a box"
    assert cli.runs == []


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31m42\x1b[0m\u202e\x9b1m"


async def test_a_trace_is_shown_without_what_a_terminal_would_obey(cli: Cli, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat(HOSTILE)
    cli.write("quiz.py", quiz(1))
    ended = await cli("run", "quiz.py", "--model", endpoint.spec())
    shown = await cli("traces", "show", "latest", "1")
    by_name = await cli("traces", "show", "latest", "quiz/q0@1")
    assert shown.code == 0 and shown.out == by_name.out
    assert "42" in shown.out and "Question q0: what is 0 + 0?" in shown.out
    for text in (ended.out, shown.out, (await cli("results", "show", "latest", "--samples")).out):
        assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}
    events = (await cli("traces", "show", "latest", "quiz/q0", "--json")).document
    assert [event["type"] for event in events] == ["model_call", "score"]
    assert events[0]["response"]["content"] == HOSTILE
    assert events[1]["target"] == "0" and "       target: 0\n" in shown.out
    (await cli("traces", "show", "latest", "1", "--attempt", "2")).refused(2, "trial 1 has no attempt 2")
    (await cli("traces", "show", "latest", "2")).refused(2, "there is no trial 2", "its trials are 1 to 1")
    (await cli("traces", "show", "latest", "quiz/q1")).refused(2, "quiz/q0@1")
    (await cli("traces", "show", "latest", "q0")).refused(2, "did you mean quiz/q0@1?")


async def test_epochs_at_temperature_0_are_warned_of(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(2))
    cold = await cli("run", "quiz.py", "--model", endpoint.spec(), "--epochs", "2")
    assert cold.code == 0
    assert "--set sampling.temperature=0.7" in cold.err
    warm = await cli("run", "quiz.py", "--model", endpoint.spec(), "--epochs", "2", "--set", "sampling.temperature=0.7")
    assert warm.code == 0
    assert "epochs at temperature" not in warm.err


async def test_a_plan_needs_no_model_and_a_suite_with_a_gap_has_no_average(cli: Cli, endpoint: Endpoint) -> None:
    assert (await cli("run", "quickstart_questions", "--plan")).code == 0
    cli.write(
        "pair.py",
        "from agentlab.tasks import Sample, Suite, Task, task\nfrom agentlab.tasks.scorers import number\n"
        "@task\ndef good() -> Task:\n"
        "    return Task(samples=[Sample(id='a', input='1', target='1')], scorers=[number()])\n"
        "@task\ndef bad() -> Task:\n"
        "    return Task(samples=[Sample(id='a', input='1', target='1', requires=('magic',))], scorers=[number()])\n"
        "pair = Suite(name='pair', tasks=('good', 'bad'))\n",
    )
    ended = await cli("run", "pair.py", "--model", "reference")
    assert "pair: no average, for there is no score of bad" in ended.out
    (suite,) = (await cli("run", "pair.py", "--model", "reference", "--json")).document["suites"]
    assert (suite["value"], suite["missing"]) == (None, ["bad"])


async def test_labels_of_trials_and_steps_are_shown(cli: Cli) -> None:
    cli.write("quiz.py", quiz(2))
    await cli("run", "quiz.py", "--model", "reference")
    given = {"trial": 2, "attempt": 1, "source": "person", "author": "ann\x1b[2J", "guide": "failure@1"}
    add_labels(cli.run_dir, [Label(name="failure", value="invention", note="not\nasked", **given)])
    add_labels(cli.run_dir, [Label(name="failure", value="early", seq=1, confidence=0.25, **given)])
    first, second = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert first["labels"] == [] and second["labels"] == ["failure:invention", "failure:early"]
    shown = (await cli("traces", "show", "latest", "2")).out.splitlines()
    assert "label failure:invention by person ann (failure@1): not asked" in shown[:4]
    place = shown.index("       label failure:early by person ann (failure@1), 0.25 sure")
    assert any(line.startswith("  2  ") for line in shown[:place]) and "\x1b" not in "".join(shown)
    steps = (await cli("traces", "show", "latest", "2", "--json")).document
    assert [step.get("labels") for step in steps][:2] == [None, ["failure:early"]]
