"""IFEval's verdicts: strict and loose, malformed rows, contradictions, and the whole set."""

from __future__ import annotations

import inspect
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentlab.tasks.builtin.ifeval import ifeval, to_sample
from agentlab.tasks.data import DataSource
from agentlab.tasks.loading import load_samples
from agentlab.tasks.scorers.ifeval import Instruction, ifeval_scorer, judge, loose_variants, parse_instructions
from agentlab.tasks.scorers.ifeval.contradictions import contradictions
from agentlab.tasks.scorers.ifeval.solutions import solve
from agentlab.tasks.scores import Scores
from agentlab.tasks.types import Sample, Score, ScoreContext, Submission, Task, TaskError
from agentlab.traces.events import ListRecorder

CONTEXT = ScoreContext(sandbox=None, judge=None, recorder=ListRecorder())
CONTRADICTORY = ["1627", "3369", "3371", "3718", "374"]
"""Prompts of the published set that no answer can follow; the test below prints why."""


def row(*instructions: tuple[str, dict[str, Any]], key: int = 7, prompt: str = "Write.") -> dict[str, Any]:
    ids, arguments = zip(*instructions, strict=True)
    return {"key": key, "prompt": prompt, "instruction_id_list": list(ids), "kwargs": list(arguments)}


async def score(sample: Sample, answer: str) -> Score:
    verdict = ifeval_scorer().grade(sample, Submission(answer=answer), CONTEXT)
    return await verdict if inspect.isawaitable(verdict) else verdict


def test_loose_drops_first_and_last_lines_and_asterisks() -> None:
    assert loose_variants("Sure:\n**A**\nBye") == (
        "Sure:\n**A**\nBye",
        "**A**\nBye",
        "Sure:\n**A**",
        "**A**",
        "Sure:\nA\nBye",
        "A\nBye",
        "Sure:\nA",
        "A",
    )


@pytest.mark.parametrize(
    "answer", ['Here it is:\n"A text."', '"A text."\nHope it helps!', 'Here:\n"A text."\nBye', '**"A text."**']
)
def test_loose_forgives_what_strict_does_not(answer: str) -> None:
    verdict = judge([Instruction("startend:quotation", {})], answer)
    assert verdict.strict == (False,) and verdict.loose == (True,)


async def test_scores_by_prompt_and_by_instruction() -> None:
    sample = to_sample(row(("punctuation:no_comma", {}), ("startend:quotation", {}), ("detectable_format:title", {})))
    right = await score(sample, '"<<Tea>> All of it."')
    assert right.value == 1.0 and right.scores["inst_strict"] == 1.0 and right.explanation == ""
    part = await score(sample, 'Here:\n"All of it."')
    assert part.value == 0.0
    assert part.scores == pytest.approx(
        {"prompt_strict": 0, "prompt_loose": 0, "inst_strict": 1 / 3, "inst_loose": 2 / 3, "instructions": 3}
    )
    assert part.explanation == "not followed: startend:quotation, detectable_format:title"
    empty = await score(sample, " ")
    assert empty.value == 0 and empty.flags == ("empty",) and empty.scores["inst_loose"] == 0


def test_rows_with_nulls_are_the_rows_without() -> None:
    used = row(("length_constraints:number_words", {"num_words": 5, "relation": "at least"}))
    nulls = row(("length_constraints:number_words", {"num_words": 5.0, "relation": "at least", "letter": None}))
    assert to_sample(used) == to_sample(nulls)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (("startend:rhyme", {}), "key 7: unknown instruction 'startend:rhyme'"),
        (("detectable_format:number_bullet_lists", {}), "key 7: .*number_bullet_lists lacks 'num_bullets'"),
        (("detectable_format:number_bullet_lists", {"num_bullets": None}), "lacks 'num_bullets'"),
        (("detectable_format:number_bullet_lists", {"num_bullets": "3"}), "num_bullets must be int, got '3'"),
        (("keywords:existence", {"keywords": ["("]}), r"'\(' is not a pattern"),
        (
            ("length_constraints:number_words", {"num_words": 5, "relation": "at most"}),
            "relation must be one of less than, at least, got 'at most'",
        ),
    ],
)
def test_malformed_instructions_are_named_by_key(instruction: tuple[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_sample(row(instruction))


def test_ids_and_arguments_must_pair() -> None:
    with pytest.raises(ValueError, match="key 3: 2 instructions but 1 sets of arguments"):
        parse_instructions(["punctuation:no_comma", "startend:quotation"], [{}], where="key 3")


def test_a_malformed_row_of_a_file_is_a_task_error_with_its_line(tmp_path: Path) -> None:
    data = tmp_path / "ifeval.jsonl"
    rows = [row(("punctuation:no_comma", {})), row(("punctuation:none", {}), key=8)]
    data.write_text("\n".join(json.dumps(each) for each in rows))
    with pytest.raises(TaskError, match=r"ifeval\.jsonl:2: key 8: unknown instruction 'punctuation:none'"):
        list(load_samples(Task(name="own", source=DataSource(str(data)), to_sample=to_sample)))


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        ((("change_case:english_capital", {}), ("change_case:english_lowercase", {})), "all capitals and all lower"),
        (
            (("punctuation:no_comma", {}), ("startend:end_checker", {"end_phrase": "Yes, I am."})),
            "no_comma, and the answer must hold 'Yes, I am.'",
        ),
        (
            (
                ("length_constraints:number_words", {"num_words": 9, "relation": "at least"}),
                ("length_constraints:number_words", {"num_words": 9, "relation": "less than"}),
            ),
            "words: at least 9 and at most 8",
        ),
        (
            (("combination:two_responses", {}), ("length_constraints:number_paragraphs", {"num_paragraphs": 3})),
            "empty paragraph",
        ),
        (
            (
                ("combination:repeat_prompt", {"prompt_to_repeat": "What is tea?"}),
                ("keywords:forbidden_words", {"forbidden_words": ["tea"]}),
            ),
            "forbidden word 'tea', and the answer must hold 'What is tea?'",
        ),
        (
            (
                ("keywords:letter_frequency", {"letter": "e", "let_frequency": 1, "let_relation": "less than"}),
                ("keywords:existence", {"keywords": ["tea"]}),
            ),
            "letter 'e' at most 0 times",
        ),
    ],
)
def test_instructions_that_exclude_each_other_are_found(instructions: Any, reason: str) -> None:
    sample = to_sample(row(*instructions))
    found = contradictions(sample)
    assert found is not None and reason in found and sample.metadata["contradiction"] == found
    assert not all(judge(parse_instructions(*zip(*instructions, strict=True)), solve(sample)).strict)


@pytest.mark.parametrize(
    "instructions",
    [
        # A keyword may stand inside a longer word, where it is not forbidden.
        (("keywords:existence", {"keywords": ["rock"]}), ("keywords:forbidden_words", {"forbidden_words": ["rock"]})),
        # Case does not count for the end phrase and the prompt.
        (("change_case:english_lowercase", {}), ("startend:end_checker", {"end_phrase": "THE END"})),
        (("detectable_format:json_format", {}), ("startend:quotation", {})),
    ],
)
def test_hard_but_possible_combinations_are_no_contradictions(instructions: Any) -> None:
    assert contradictions(to_sample(row(*instructions))) is None


# --- the published set


@pytest.fixture
def samples(reference_data: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    monkeypatch.setenv("AGENTLAB_DATA", str(reference_data))
    return list(load_samples(ifeval()))


def test_the_prompts_that_contradict_themselves(samples: list[Sample]) -> None:
    found = {sample.id: reason for sample in samples if (reason := contradictions(sample))}
    for key, reason in found.items():
        print(f"key {key}: {reason}")
    assert sorted(found) == sorted(CONTRADICTORY)


async def test_the_built_solution_of_every_other_prompt_earns_full_marks(samples: list[Sample]) -> None:
    assert len(samples) == 541
    values = [await score(sample, str(sample.solution)) for sample in samples]
    missed = [sample.id for sample, value in zip(samples, values, strict=True) if value.value < 1]
    assert sorted(missed) == sorted(CONTRADICTORY)
    columns = Scores.of(
        [value.value for value in values],
        extra={name: [value.scores[name] for value in values] for name in values[0].scores},
    )
    headline, loose, by_instruction, _ = (metric(columns) for metric in ifeval().metrics)
    assert headline.value == pytest.approx(536 / 541) and loose.value >= headline.value
    assert np.sum(columns.extra["instructions"]) == 834
    assert by_instruction.value == pytest.approx(1 - 5 / 834) and by_instruction.n == 541


async def test_an_answer_to_another_prompt_rarely_passes(samples: list[Sample]) -> None:
    # Solutions are shifted by one: if checks were vacuous they would pass here too.
    values = [await score(a, str(b.solution)) for a, b in itertools.pairwise(samples)]
    assert sum(value.value for value in values) / len(values) < 0.4
