"""Rows in both shapes, as at the source and as mirrors hold them, become the same samples; malformed ones are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentlab.tasks.builtin._rows import parse_instruction
from agentlab.tasks.loading import load_samples
from agentlab.tasks.registry import resolve
from agentlab.tasks.scorers.bbh import bbh_answer
from agentlab.tasks.types import Sample, Score, ScoreContext, Submission, Task, TaskError
from agentlab.traces.events import ListRecorder, Message

CONTEXT = ScoreContext(sandbox=None, judge=None, recorder=ListRecorder())
COMMONSENSE = "instruction, output, answer (choices inside the instruction)"


def choose(what: str, question: str, options: list[str], word: str, gold: int) -> dict[str, Any]:
    listed = " ".join(f"{word.title()}{n}: {option}" for n, option in enumerate(options, 1))
    form = "/".join(f"{word}{n}" for n in range(1, len(options) + 1))
    answer = f"{word}{gold}"
    instruction = f"Please choose the correct {what}: {question}\n\n{listed}\n\nAnswer format: {form}"
    return {"instruction": instruction, "input": "", "output": f"the correct answer is {answer}", "answer": answer}


BLANK = "answer to fill in the blank to complete the given sentence"
PAIRS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "arc_easy": (
        "hf://allenai/ai2_arc/ARC-Easy/test",
        {"question": "Hot?", "choices": {"text": ["ice", "fire"], "label": ["A", "B"]}, "answerKey": "B"},
        choose("answer to the question", "Hot?", ["ice", "fire"], "answer", 2),
    ),
    "openbookqa": (
        "hf://allenai/openbookqa/main/test",
        {"question_stem": "Hot?", "choices": {"text": ["ice", "fire"], "label": ["A", "B"]}, "answerKey": "B"},
        choose("answer to the question", "Hot?", ["ice", "fire"], "answer", 2),
    ),
    "piqa": (
        "hf://ybisk/piqa/validation",
        {"goal": "Boil water", "sol1": "heat it", "sol2": "cool it", "label": 0},
        choose("solution to the question", "Boil water", ["heat it", "cool it"], "solution", 1),
    ),
    "social_i_qa": (
        "hf://allenai/social_i_qa/validation",
        {
            "context": "Ann fell.",
            "question": "How does she feel?",
            "answerA": "hurt",
            "answerB": "fine",
            "answerC": "rich",
            "label": "1",
        },
        choose("answer to the question", "Ann fell. How does she feel?", ["hurt", "fine", "rich"], "answer", 1),
    ),
    "winogrande": (
        "hf://allenai/winogrande/winogrande_xl/validation",
        {"qID": "", "sentence": "Ann beat Bea as _ ran.", "option1": "Ann", "option2": "Bea", "answer": "1"},
        choose(BLANK, "Ann beat Bea as _ ran.", ["Ann", "Bea"], "option", 1),
    ),
    "boolq": (
        "hf://google/boolq/validation",
        {"question": "is ice cold", "passage": "", "answer": True},
        {
            "instruction": "Please answer the following question with true or false, question: is ice cold?\n\n"
            "Answer format: true/false",
            "answer": "true",
        },
    ),
}


def mirror(folder: Path, uri: str, rows: list[Any], shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mirror.json").write_text(json.dumps({uri: {"path": "data.jsonl", "shape": shape}}))
    monkeypatch.setenv("AGENTLAB_DATA", str(folder))


def the_task(name: str) -> Task:
    resolution = resolve([name])
    assert not resolution.errors, resolution.errors
    return resolution.tasks[0]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("style", ["", ":raw", ":loglikelihood"])
def test_both_shapes_give_the_same_sample(
    name: str, style: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, at_source, mirrored = PAIRS[name]
    mirror(tmp_path / "source", uri, [at_source], "as at the source", monkeypatch)
    (first,) = load_samples(the_task(name + style))
    mirror(tmp_path / "mirror", uri, [mirrored], COMMONSENSE, monkeypatch)
    (second,) = load_samples(the_task(name + style))
    assert first == second
    assert first.target in ("A", "B")


def test_a_passage_and_its_cluster_come_with_boolq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": q, "passage": "Ice is cold.", "answer": True} for q in ("is ice cold", "is ice warm")]
    mirror(tmp_path, "hf://google/boolq/validation", rows, "as at the source", monkeypatch)
    one, two = load_samples(the_task("boolq"))
    assert one.cluster == two.cluster != "" and str(one.input).startswith("Ice is cold.\n\nis ice cold?")


def test_winogrande_twins_by_id_and_continuation_from_the_blank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"sentence": "Ann beat Bea as _ ran.", "option1": "Ann", "option2": "Bea", "answer": "1"}
    rows = [row | {"qID": "X7-1"}, row | {"qID": "X7-2", "sentence": "So Ann beat Bea as _ slept.", "answer": "2"}]
    mirror(tmp_path, "hf://allenai/winogrande/winogrande_xl/validation", rows, "as at the source", monkeypatch)
    one, two = load_samples(the_task("winogrande:loglikelihood"))
    assert one.cluster == two.cluster == "X7"
    assert one.input == "Ann beat Bea as" and one.choices == ("Ann ran.", "Bea ran.")


def test_repeated_questions_get_ids_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, row, _ = PAIRS["piqa"]
    mirror(tmp_path, uri, [row, row], "as at the source", monkeypatch)
    one, two = load_samples(the_task("piqa"))
    assert two.id == f"{one.id}-2"


def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, row, _ = PAIRS["arc_easy"]
    mirror(tmp_path, uri, [row, row | {"answerKey": "E"}, {"question": "?"}], "as at the source", monkeypatch)
    with pytest.raises(TaskError) as caught:
        list(load_samples(the_task("arc_easy")))
    assert "data.jsonl:2" in str(caught.value) and "data.jsonl:3" in str(caught.value)


def test_options_inside_the_question_are_passed_over() -> None:
    row = choose("answer to the question", "What does Answer1: say here?", ["x", "y"], "answer", 2)
    assert parse_instruction(row) == ("What does Answer1: say here?", ["x", "y"], 1)
    with pytest.raises(ValueError, match="2 choices announced"):
        parse_instruction(row | {"instruction": row["instruction"].replace("Answer2: y", "")})
    with pytest.raises(ValueError, match="Please choose"):
        parse_instruction(row | {"instruction": "Which one?"})


def test_mmlu_stem_leaves_other_subjects_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"question": "q", "choices": ["a", "b", "c", "d"], "answer": 3}
    rows = [row | {"subject": "astronomy"}, row | {"subject": "sociology", "question": "r"}]
    mirror(tmp_path, "hf://cais/mmlu/stem/test", rows, "as at the source", monkeypatch)
    (only,) = load_samples(the_task("mmlu_stem"))
    assert only.group == "astronomy" and only.target == "D"
    mirror(tmp_path, "hf://cais/mmlu/all/test", rows, "as at the source", monkeypatch)
    assert len(list(load_samples(the_task("mmlu")))) == 2
    assert [s.group for s in load_samples(the_task("mmlu:subject=sociology"))] == ["sociology"]


def test_truthfulqa_in_both_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "hf://truthfulqa/truthful_qa/multiple_choice/validation"
    source = {
        "question": "Q?",
        "mc1_targets": {"choices": ["best", "f1", "f2"], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["other", "best", "f1", "f2"], "labels": [1, 1, 0, 0]},
    }
    table = {
        "Question": "Q?",
        "Best Answer": "best",
        "Correct Answers": "other; best;",
        "Incorrect Answers": "f1; f2; best",
    }
    csv_shape = "csv: Question, Best Answer, Correct Answers, Incorrect Answers (; separated)"
    for style in ("", ":loglikelihood", ":mc2"):
        mirror(tmp_path, uri, [source], "as at the source", monkeypatch)
        (first,) = load_samples(the_task("truthfulqa" + style))
        mirror(tmp_path, uri, [table], csv_shape, monkeypatch)
        (second,) = load_samples(the_task("truthfulqa" + style))
        assert first == second
    assert first.choices == ("best", "other", "f1", "f2") and first.target == ("A", "B")


@pytest.mark.parametrize("name", ["gsm8k:style=x", "bbh:subtask=nosuch", "arc_easy:style=x", "truthfulqa:headline=mc3"])
def test_unknown_settings_are_refused(name: str) -> None:
    (problem,) = resolve([name]).errors
    assert problem.kind == "invalid" and name.rpartition("=")[2] in problem.message


def bbh(form: str, target: str, answer: str, question: str = "?", **metadata: Any) -> float:
    sample = Sample(id="1", input=question, target=target, metadata={"form": form, **metadata})
    score = bbh_answer().grade(sample, Submission(answer=answer), CONTEXT)
    assert isinstance(score, Score)
    return score.value


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("] ] >", 1),
        ("]]>", 1),
        ("Answer: ] ] >", 1),
        ("The stack holds < [ [.\n\nAnswer: `] ] >`", 1),
        ("Answer: < [ [ ] ] >", 1),
        ("\\boxed{] ] >}", 1),
        ("So $\\boxed{]\\ ]\\ >}$.", 1),
        ("Answer: ] > ]", 0),
        ("Answer: ] ]", 0),
        ("Answer: < [ [", 0),
    ],
)
def test_brackets(answer: str, right: int) -> None:
    assert bbh("brackets", "] ] >", answer, "Complete the sequence. Input: < [ [") == right


def test_the_angles_of_tags_are_no_brackets() -> None:
    assert bbh("brackets", "] ] >", "<answer>] ] ></answer>", "Complete the sequence. Input: < [ [") == 1
    assert bbh("brackets", ">", "<answer>)</answer>", "Complete the sequence. Input: <") == 0


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("ant bee it&t", 1),
        ("Ant, bee, it&t", 1),
        ("1. ant\n2. bee\n3. it&t", 1),
        ("Sorted.\n\nAnswer: **ant bee it&t**", 1),
        ("Answer:\n- ant\n- bee\n- it&t", 1),
        ("<answer>ant bee it&t</answer>", 1),
        ("The final answer is: $\\boxed{ant bee it&t}$. I hope it is correct.", 1),
        ("Answer: bee ant it&t", 0),
        ("Answer: ant bee", 0),
    ],
)
def test_sorted_words(answer: str, right: int) -> None:
    assert bbh("words", "ant bee it&t", answer) == right


def test_words_numbers_and_texts() -> None:
    assert bbh("word", "invalid", "So the argument is **invalid**.", words=["valid", "invalid"]) == 1
    assert bbh("word", "valid", "Answer: invalid", words=["valid", "invalid"]) == 0
    assert bbh("number", "-35", "Answer: −35") == 1
    assert bbh("text", "Monsters, Inc", "Answer: monsters, inc.") == 1


def test_bfcl_turns_become_messages_and_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    question = {
        "id": "multiple_0",
        "question": [[{"role": "user", "content": "2+2?"}]],
        "function": [
            {"name": "m.add", "description": "", "parameters": {"type": "dict", "properties": {"a": {"type": "float"}}}}
        ],
    }
    answer = {"id": "multiple_0", "ground_truth": [{"m.add": {"a": [2]}}]}
    base = "https://github.com/ShishirPatil/gorilla/bfcl/multiple"
    entries = {}
    for name, row in (("questions", question), ("answers", answer)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        entries[base if name == "questions" else f"{base}/answers"] = {"path": f"{name}.jsonl"}
    (tmp_path / "mirror.json").write_text(json.dumps(entries))
    monkeypatch.setenv("AGENTLAB_DATA", str(tmp_path))
    (sample,) = load_samples(the_task("bfcl_multiple"))
    assert sample.input == (Message(role="user", content="2+2?"),)
    assert [tool.name for tool in sample.tools] == ["m_add"]
    assert isinstance(sample.solution, tuple)
    assert sample.solution[0].arguments == {"a": 2}
