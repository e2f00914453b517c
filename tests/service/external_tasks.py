"""Tiny benchmarks with runners of their own, as a user's task file declares them."""

import sys
from pathlib import Path

from agentlab.tasks import ExternalEval, Sample, SandboxedExternalEval, task

PROGRAM = Path(__file__).with_name("external_program.py")
QUESTIONS = {"one": "1", "two": "2", "three": "3"}
SAMPLES = [Sample(id=name, input=name, target=answer) for name, answer in QUESTIONS.items()]


def here(*words: str, **fields) -> ExternalEval:
    return ExternalEval(command=(sys.executable, str(PROGRAM), "{samples}", "{results}", *words), **fields)


@task
def counted() -> ExternalEval:
    """Its samples are known: a trial each."""
    return here(samples=SAMPLES)


@task
def whole() -> ExternalEval:
    """Its samples are not known: the whole program is one trial."""
    return here()


@task
def gaps() -> ExternalEval:
    return here("--gaps", samples=SAMPLES)


@task
def failing() -> ExternalEval:
    return here("--fail", samples=SAMPLES)


@task
def hanging() -> ExternalEval:
    return here("--hang", samples=SAMPLES, timeout_s=1.0)


@task
def absent() -> ExternalEval:
    return ExternalEval(command=("no-such-program",), samples=SAMPLES)


@task
def silent() -> ExternalEval:
    return ExternalEval(command=(sys.executable, "-c", "pass"), samples=SAMPLES)


@task
def peeking() -> ExternalEval:
    """What the program finds in its environment."""
    return here("--environment")


@task
def boxed() -> SandboxedExternalEval:
    return SandboxedExternalEval(
        command=("python3", "program.py", "{samples}", "{results}"),
        files={"program.py": PROGRAM.read_text(encoding="utf-8")},
        samples=SAMPLES,
    )
