"""Scorers of programs: functions by a benchmark's checks, repositories by hidden tests. Both run code in a box only.

A sample carries what is tested in its metadata, made by `checks_of` (programs) or `hidden_tests` (repositories).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from agentlab.sandboxes.protocol import WORKSPACE, Sandbox
from agentlab.tasks.scorers.programs.extraction import extract_program
from agentlab.tasks.scorers.programs.grading import Job, Verdict, grade
from agentlab.tasks.types import Sample, Score, ScoreContext, Scorer, Submission, VerifierError

PROGRAM_SECONDS = 15.0
REPOSITORY_SECONDS = 60.0
"""Processor time that a program may use. Wall time may be four times that: a busy host must not fail a right answer."""


def checks_of(
    names: Sequence[str],
    checks: Iterable[str],
    *,
    setup: Iterable[str] = (),
    given: Iterable[str] = (),
    bind: Mapping[str, str] | None = None,
    prompt: str = "",
) -> dict[str, Any]:
    """Metadata of a sample that `program_tests` grades.

    `names` are what the program must define; they are what `checks` (Python statements, each one test) may use of it,
    under other names where `bind` maps a check's name to the program's. `setup` runs before the checks, beside
    them; `given` runs before the program, in its own module (imports and functions that the prompt shows). `prompt` is
    the signature that a bare body continues.
    """
    return {
        "names": list(names),
        "checks": [[f"check {number}", check] for number, check in enumerate(checks, start=1)],
        "setup": list(setup),
        "given": list(given),
        "bind": dict(bind) if bind is not None else {name: name for name in names},
        "prompt": prompt,
    }


def hidden_tests(files: Mapping[str, str], *, modules: Sequence[str], tests: Sequence[str] = ()) -> dict[str, Any]:
    """Metadata of a sample that `repository_tests` grades.

    `files` are the test files by path, shown to nobody; `tests` those among them that hold tests (default: every
    Python file whose name starts or ends in `test`). `modules` are the top-level modules or packages of the workspace
    that tests import.
    """
    chosen = tests or [path for path in files if _is_test(path)]
    if not chosen:
        raise ValueError("no test file among: " + ", ".join(sorted(files)))
    for path in files:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts:
            raise ValueError(f"a test file's path must stay inside: {path!r}")
    return {"tests": dict(files), "test_modules": [_module_name(path) for path in chosen], "modules": list(modules)}


def _is_test(path: str) -> bool:
    name = PurePosixPath(path)
    return name.suffix == ".py" and (name.stem.startswith("test") or name.stem.endswith("test"))


def _module_name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def program_tests(*, cpu_s: float = PROGRAM_SECONDS) -> Scorer:
    """1 where the program in the answer passes every check of the sample, else 0; `passed` is the share that passed.

    The metadata is that of `checks_of`. An answer without code that parses is 0 with the flag `unparsable`.
    """

    async def score(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        told = sample.metadata
        if not submission.answer.strip():
            return Score(value=0.0, flags=("empty",))
        program = extract_program(submission.answer, told["names"], told["prompt"])
        if not program.code.strip():
            return Score(value=0.0, flags=("unparsable",), explanation="no Python code was found in the answer")
        tests = {
            "kind": "program",
            "sources": [*told["given"], program.code],
            "setup": told["setup"],
            "bind": told["bind"],
            "checks": told["checks"],
        }
        verdict = await grade(_box(context), Job(tests, cpu_s=cpu_s), context.recorder)
        return _score(verdict, answer=program.code)

    return Scorer(name="program_tests", grade=score, version=3, requires=("python",), params={"cpu_s": cpu_s})


def repository_tests(*, cpu_s: float = REPOSITORY_SECONDS) -> Scorer:
    """1 where the workspace passes every hidden test of the sample, else 0; `passed` is the share that passed.

    The metadata is that of `hidden_tests`. Tests are imported from the sample, never from the workspace, after every
    process of the agent is dead.
    """

    async def score(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        told = sample.metadata
        box = _box(context)
        await box.quiesce()
        tests = {
            "kind": "repository",
            "files": told["tests"],
            "tests": told["test_modules"],
            "modules": told["modules"],
        }
        verdict = await grade(box, Job(tests, import_from=(WORKSPACE,), cpu_s=cpu_s), context.recorder)
        return _score(verdict)

    return Scorer(name="repository_tests", grade=score, version=2, requires=("python",), params={"cpu_s": cpu_s})


def _box(context: ScoreContext) -> Sandbox:
    if context.sandbox is None:
        raise VerifierError("programs are graded in a sandbox, and none was given")
    return context.sandbox


def _score(verdict: Verdict, answer: str = "") -> Score:
    passed = verdict.passed / verdict.total if verdict.total and not verdict.reason else 0.0
    return Score(
        value=float(verdict.ok),
        scores={"passed": passed},
        answer=answer,
        explanation="" if verdict.ok else verdict.explanation,
    )
