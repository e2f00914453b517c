"""Quickstart: a small suite of our own that shows every route in seconds. Its samples need no data from anywhere."""

from __future__ import annotations

import inspect

from agentlab.tasks import Sample, Score, ScoreContext, Scorer, Submission, Suite, Task, suite, task
from agentlab.tasks.builtin.humaneval import ANSWER_FILE, IN_BOX
from agentlab.tasks.builtin.quickstart.programs import PROGRAMS
from agentlab.tasks.builtin.quickstart.questions import QUESTIONS
from agentlab.tasks.builtin.quickstart.repairs import REPAIRS
from agentlab.tasks.scorers import choice, match, number
from agentlab.tasks.scorers.programs import program_tests, repository_tests

QUESTION_PROMPT = """{input}
{choices}

Think as long as you need. Then end with one line: Answer: and the answer alone."""

REPAIR_PROMPT = """{input}

The code is in the current directory. Find out what is wrong, repair it, and submit. Hidden tests then decide; they \
import the modules by their present names."""


def by_kind() -> Scorer:
    """Grades a question by its group: `number`, `choice` or `words`."""
    kinds = {"number": number(), "choice": choice(), "words": match()}

    async def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        score = kinds[sample.group].grade(sample, submission, context)
        return await score if inspect.isawaitable(score) else score

    return Scorer(name="by_kind", grade=grade, version=2, params={kind: scorer.name for kind, scorer in kinds.items()})


@task
def quickstart_questions() -> Task:
    """Six questions with a number, a letter or a word for an answer."""
    return Task(samples=QUESTIONS, prompt=QUESTION_PROMPT, scorers=[by_kind()], licence="Apache-2.0")


@task
def quickstart_programs() -> Task:
    """Five small functions to write, each tested in a sandbox."""
    return Task(
        samples=PROGRAMS,
        prompt="{input}\n\nAnswer with the code alone, in one ```python block.",
        agent_prompt=IN_BOX,
        requires=("shell", "python"),
        answer_file=ANSWER_FILE,
        scorers=[program_tests()],
        licence="Apache-2.0",
    )


@task
def quickstart_repairs() -> Task:
    """Four tiny repositories, each with a fault to find and repair until hidden tests pass."""
    return Task(
        samples=REPAIRS,
        prompt=REPAIR_PROMPT,
        requires=("shell", "python"),
        answer="workspace",
        scorers=[repository_tests()],
        licence="Apache-2.0",
    )


@suite
def quickstart() -> Suite:
    """Questions, programs and repairs, 15 samples in all: a first look, and a check of the installation."""
    return Suite(name="quickstart", tasks=("quickstart_questions", "quickstart_programs", "quickstart_repairs"))
