"""`agentlab classify --kind cause` and `agentlab traces train --kind cause`, as a user calls them."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

from e2e.command_line import Cli
from endpoints import Endpoint, chat

from agentlab.traces.causes.model import read_model


def row(number: int, rng: random.Random, **more: Any) -> dict[str, Any]:
    """A failed run of three agents in Who&When's form; one of them makes figures up."""
    agents = ["Miner", "Baker", "Potter"] * 3
    wrong = rng.randrange(1, len(agents))
    turns = [f"{rng.choice(agents)} and I look at the list, as was agreed." for _ in agents]
    turns[wrong] = f"I assume hypothetically {rng.randrange(100, 999)}, or likely {rng.randrange(100, 999)}."
    return {
        "question": f"How many loaves were sold on day {number}?",
        "question_ID": f"day-{number}",
        "history": [
            {"role": "assistant", "name": agent, "content": text} for agent, text in zip(agents, turns, strict=True)
        ],
        "is_correct": False,
        "ground_truth": "17",
        "mistake_agent": agents[wrong],
        "mistake_step": str(wrong),
    } | more


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    rng = random.Random(5)
    return [row(number, rng, **more) for number in range(count)]


def as_lines(documents: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


def found_in(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


async def test_each_failed_trace_of_a_file_gets_a_line_and_no_model_is_asked(cli: Cli, endpoint: Endpoint) -> None:
    made = rows(6)
    made[2]["is_correct"] = True
    unlabelled = [{key: value for key, value in one.items() if not key.startswith("mistake")} for one in made]
    ended = await cli("classify", cli.write("rows.jsonl", as_lines(unlabelled)), "--kind", "cause", "--json")
    assert ended.code == 0, ended.err
    lines = found_in(ended.out)
    assert [line["id"] for line in lines] == [f"day-{number}" for number in (0, 1, 3, 4, 5)]
    for line in lines:
        assert {"id", "label", "score", "source", "agent", "step", "category"} <= set(line)
        assert line["source"] == "classifier" and line["label"] == line["category"] and 0 < line["score"] <= 1
        assert made[0]["history"][line["step"]]["name"] == line["agent"]
    shown = await cli("classify", "rows.jsonl")
    assert f"step {lines[0]['step'] + 1} by {lines[0]['agent']}" in shown.out
    assert endpoint.arrived == []


async def test_a_run_is_classified_and_the_labels_are_kept_once(cli: Cli) -> None:
    await cli("traces", "import", cli.write("rows.jsonl", as_lines(rows(3))))
    ended = await cli("classify", "latest", "--kind", "cause", "--json")
    assert [line["id"] for line in found_in(ended.out)] == [f"rows/day-{number}@1" for number in range(3)]
    stored = await cli("classify", "latest", "--kind", "cause", "--store")
    assert "3 labels are stored" in stored.out
    step = found_in(ended.out)[0]["step"]
    steps = (await cli("traces", "show", "latest", "1", "--json")).document
    assert [s["step"] - 1 for s in steps if "cause:unknown" in s.get("labels", [])] == [step]
    assert "no label is new" in (await cli("classify", "latest", "--kind", "cause", "--store")).out


async def test_a_judge_is_asked_where_it_is_named(cli: Cli, endpoint: Endpoint) -> None:
    made = rows(2)
    right = int(made[0]["mistake_step"])
    quote = made[0]["history"][right]["content"]
    citation = {"step": right, "category": "Invention of New Information", "quote": quote, "reason": "Made up."}
    endpoint.behave = lambda body, request: chat(json.dumps(citation))
    path = cli.write("rows.jsonl", as_lines(made))
    ended = await cli("classify", path, "--judge", endpoint.spec(), "--json")
    assert ended.code == 0, ended.err
    first, second = found_in(ended.out)
    assert (first["step"], first["agent"], first["source"]) == (right, made[0]["mistake_agent"], "judge")
    assert first["label"] == "Invention of New Information" and first["quote"] == quote
    # What it says of the first trace does not stand in the second.
    assert (second["label"], second["step"]) == ("unknown", None) and "quote" in second["note"]
    assert len(endpoint.arrived) == 2 and endpoint.bodies[0]["temperature"] == 0
    told = await cli("classify", path, "--judge", endpoint.spec())
    assert f"step {right + 1} by {first['agent']}, Invention of New Information" in told.out


async def test_what_cannot_be_classified_is_said_in_one_line(cli: Cli, endpoint: Endpoint) -> None:
    (await cli("classify", "nowhere")).refused(2, "nowhere")
    (await cli("classify", cli.write("other.json", '{"a": 1}'))).refused(2, "other.json", "no trace")
    path = cli.write("rows.jsonl", as_lines(rows(1)))
    (await cli("classify", path, "--judge", "reference")).refused(2, "cannot judge")
    await endpoint.stop()
    (await cli("classify", path, "--judge", endpoint.spec())).refused(3)
    ended = await cli("classify", path, "--store")
    assert ended.code == 2 and "traces import" in ended.err


async def test_weights_are_fitted_to_labelled_files_and_say_so(cli: Cli) -> None:
    path = cli.write("rows.jsonl", as_lines(rows(24)))
    ended = await cli("traces", "train", path, "--seeds", "1", "--out", "weights.json")
    assert ended.code == 0, ended.err
    model = read_model((cli.home / "weights.json").read_bytes())
    assert [(source.file, source.traces) for source in model.trained_on] == [("rows.jsonl", 24)]
    assert model.rebuild == "agentlab traces train --kind cause rows.jsonl --seeds 1 --out weights.json"
    assert "whowhen, 24 traces" in ended.out and model.scores["whowhen"]["traces"] == 24
    few = await cli("traces", "train", cli.write("few.jsonl", as_lines(rows(3))), "--out", "none.json")
    few.refused(2, "at least 20")
    assert not (cli.home / "none.json").exists()


async def test_weights_are_fitted_to_what_people_marked_in_a_run_and_label_another(cli: Cli) -> None:
    await cli("traces", "import", cli.write("rows.jsonl", as_lines(rows(24))), "--name", "known")
    (known,) = (await cli("results", "list", "--json")).document
    trained = await cli("traces", "train", "latest", "--seeds", "1", "--out", "mine.json", "--json")
    assert trained.code == 0, trained.err
    of_files = await cli("traces", "train", "rows.jsonl", "--seeds", "1", "--out", "files.json", "--json")
    assert trained.document["scores"]["people"] == of_files.document["scores"]["whowhen"]
    written = (cli.home / "mine.json").read_bytes()
    model = read_model(written)
    assert [(source.file, source.traces) for source in model.trained_on] == [(known["run"], 24)]

    # A second person who names other steps leaves no majority; who marks a tool's answer means the turn before it.
    marks = [{"trial": n, "step": 1, "name": "failure", "value": "plan.looped", "author": "ann"} for n in range(1, 6)]
    await cli("label", "import", "latest", cli.write("marks.jsonl", as_lines(marks)))
    fewer = await cli("traces", "train", "latest", "--seeds", "1", "--out", "none.json")
    fewer.refused(2, "there are 19 independent traces", "5 trials are left out, for people name different steps")

    await cli("traces", "import", cli.write("others.jsonl", as_lines(rows(3))))
    found = found_in((await cli("classify", "latest", "--kind", "cause", "--weights", "mine.json", "--json")).out)
    author = f"cause-v1+{hashlib.sha256(written).hexdigest()[:8]}"
    assert len(found) == 3 and {line["author"] for line in found} == {author}
    of_file = await cli("classify", "others.jsonl", "--kind", "cause", "--weights", "mine.json")
    assert of_file.out.count(author) == 3
    (await cli("classify", "latest", "--weights", "mine.json")).refused(2, "--weights needs --kind cause")
    (await cli("classify", "latest", "--kind", "cause", "--weights", "rows.jsonl")).refused(
        2, "no file of cause weights"
    )
    (await cli("traces", "train", "nothing", "--out", "none.json")).refused(2, "nothing is no file", "there is no run")
