"""The steps of a trace as the classifier reads them: words, numbers, code, and whether one tells of an error."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Set

import msgspec

from agentlab.traces.steps import Step, Trace

LONGEST_TEXT = 6_000
"""Characters of a step that are read, from its beginning and its end. It bounds the time that a hostile trace takes."""
MOST_STEPS = 1_000
LONGEST_NAME = 100

_LETTERS = bytes(code if chr(code) in string.ascii_lowercase else 32 for code in range(256))
_SINGLE = frozenset(string.ascii_lowercase)
_NUMBER = re.compile(r"\d[\d.,:/]*\d")
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_ASIDE = re.compile(r"\s*\([^()]*\)\s*\Z")  # read of short texts only: it takes quadratic time
_ERRORS = (
    *("traceback (most recent", "execution failed", "error:", "exception:", "exit code 1", "command not found"),
    *("no such file", " not found", "timed out", "permission denied", "unknown language"),
)
_MACHINES = ("terminal", "executor", "interpreter", "environment", "sandbox")
_PEOPLE = ("user", "human", "customer")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A step as it is read."""

    step: Step
    speaker: str
    """The agent's name without an aside (`Orchestrator (thought)` is the orchestrator); its role where it has none."""
    machine: bool
    """A tool or a terminal answers; it is not what failed."""
    person: bool
    """A user, real or played by a model, and not one of the agents."""
    prompt: bool
    """It stands before the first thing that an agent said: it is the task."""
    text: str
    """What is read of it, in lower case."""
    words: Set[str]
    numbers: frozenset[str]
    length: int
    """Characters in all."""
    code: int
    """Characters of code and of tool arguments."""
    failed: bool
    """It reports an error."""

    @property
    def suspect(self) -> bool:
        """Whether it may be to blame at all."""
        return not (self.machine or self.prompt)


def read_moments(trace: Trace) -> list[Moment]:
    """What the steps of a trace are, in order; the system's text and what stands beyond `MOST_STEPS` are left out."""
    found: list[Moment] = []
    begun = False
    for step in trace.steps:
        if step.role == "system":
            continue
        moment = _read(step, begun)
        begun = begun or not (moment.prompt or moment.machine)
        found.append(moment)
        if len(found) == MOST_STEPS:
            break
    return found


def _name(agent: str) -> str:
    """A name without an aside, and no longer than a name is."""
    name = agent[:LONGEST_NAME]
    return _ASIDE.sub("", name) or name


def _read(step: Step, begun: bool) -> Moment:
    speaker = "tool" if step.role == "tool" else _name(step.agent) or step.role
    name = speaker.lower()
    machine = step.role == "tool" or any(part in name for part in _MACHINES)
    person = step.role == "user" and name in _PEOPLE
    asked = "\n".join(f"{call.name} {call.raw or json.dumps(call.arguments)}" for call in step.asks)
    whole = "\n".join(part for part in (step.text, asked) if part)
    cut = whole if len(whole) <= LONGEST_TEXT else f"{whole[: LONGEST_TEXT // 2]}\n{whole[-LONGEST_TEXT // 2 :]}"
    text = cut.lower()
    # Most texts of most traces have no digit, and looking for each of the ten costs a tenth of the search.
    has_digits = not text.isascii() or any(digit in text for digit in string.digits)
    numbers = frozenset(_NUMBER.findall(text) if has_digits else ())
    # As `[a-z]{2,}` would find them, in a third of the time.
    words = set(text.encode("ascii", "replace").translate(_LETTERS).decode("ascii").split())
    words.difference_update(_SINGLE)
    words.update(numbers)
    blocks = _CODE.findall(cut) if "```" in cut else []
    return Moment(
        step=step,
        speaker=speaker,
        machine=machine,
        person=person,
        prompt=person and not begun,
        text=text,
        words=words,
        numbers=numbers,
        length=len(whole),
        code=min(len(whole), sum(len(block) for block in blocks) + len(asked)),
        failed=bool(step.result is not None and step.result.error)
        or text.lstrip().startswith("error")
        or any(sign in text for sign in _ERRORS),
    )
