"""MBPP (sanitized): short Python functions from a sentence and the asserts that they must pass."""

from __future__ import annotations

import ast
from typing import Any

import msgspec

from agentlab.tasks import DataSource, FewShot, MemorySource, Sample, Task, task
from agentlab.tasks.builtin.humaneval import ANSWER_FILE, IN_BOX, fenced
from agentlab.tasks.metrics import mean, pass_at
from agentlab.tasks.scorers.programs import checks_of, program_tests
from agentlab.tasks.scorers.programs.extraction import import_statements, top_level_names

PROMPT = """Write Python code for this task:

{input}

Answer with the code alone, in one ```python block."""

EXAMPLES: list[dict[str, Any]] = [
    {
        "task_id": "example-1",
        "prompt": "Write a function to keep every second word of a sentence, from the first on.",
        "code": 'def every_second_word(sentence):\n    return " ".join(sentence.split()[::2])\n',
        "test_imports": [],
        "test_list": [
            'assert every_second_word("one two three") == "one three"',
            'assert every_second_word("") == ""',
        ],
    },
    {
        "task_id": "example-2",
        "prompt": "Write a function to find the largest gap between neighbours of a sorted list.",
        "code": "def largest_gap(numbers):\n    return max((b - a for a, b in zip(numbers, numbers[1:])), default=0)\n",
        "test_imports": [],
        "test_list": ["assert largest_gap([1, 4, 6]) == 3", "assert largest_gap([5]) == 0"],
    },
    {
        "task_id": "example-3",
        "prompt": "Write a function to count how many values of a dictionary are lists.",
        "code": "def count_lists(values):\n    return sum(isinstance(value, list) for value in values.values())\n",
        "test_imports": [],
        "test_list": ["assert count_lists({'a': [], 'b': 2}) == 1", "assert count_lists({}) == 0"],
    },
]
"""Worked examples for few-shot prompts, our own; three, as the paper's protocol has it."""


def to_sample(row: dict[str, Any]) -> Sample:
    """A row as published: task_id, prompt, code, test_imports, test_list."""
    tests, imports = list(row["test_list"]), list(row["test_imports"])
    names = names_under_test(row["code"], tests)
    if not names:
        raise ValueError("the tests use nothing that the code defines")
    shown = "\n".join([row["prompt"].strip(), "", "It must pass these tests:", *imports, *tests])
    setup = dict.fromkeys([*imports_under_test(row["code"], tests), *imports])
    told = checks_of(names, tests, setup=setup, given=imports)
    return Sample(id=str(row["task_id"]), input=shown, solution=row["code"], metadata=told)


def to_example(row: dict[str, Any]) -> Sample:
    """A worked example, answered in the form that the prompt asks for."""
    return msgspec.structs.replace(to_sample(row), solution=fenced(row["code"]))


def names_under_test(code: str, tests: list[str]) -> list[str]:
    """What the tests use of the reference program: these names, and no others, a test takes from an answer.

    Not what the program imports: a test that calls `math.isclose` must not be handed the answer's own `math`.
    """
    imported = {name for line in imports_under_test(code, tests) for name in top_level_names(line)}
    return [name for name in dict.fromkeys(top_level_names(code)) if name in _names_in(tests) - imported]


def imports_under_test(code: str, tests: list[str]) -> list[str]:
    """The import statements of the reference program that the tests lean on."""
    return [line for line in import_statements(code) if not _names_in(tests).isdisjoint(top_level_names(line))]


def _names_in(tests: list[str]) -> set[str]:
    return {node.id for test in tests for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}


@task
def mbpp(shots: int = 0) -> Task:
    """MBPP, the sanitized test split: short functions from one sentence and three asserts, which the prompt shows."""
    return Task(
        source=DataSource(
            "hf://google-research-datasets/mbpp/sanitized/test",
            adapters={"task_id, prompt, code, test_imports, test_list": None},
        ),
        to_sample=to_sample,
        prompt=PROMPT,
        agent_prompt=IN_BOX,
        fewshot=FewShot(MemorySource(EXAMPLES, "mbpp examples"), shots, to_example),
        requires=("shell", "python"),
        answer_file=ANSWER_FILE,
        scorers=[program_tests()],
        metrics=[mean(), pass_at(10), pass_at(100)],
        licence="CC-BY-4.0",
        paper="https://arxiv.org/abs/2108.07732",
    )
