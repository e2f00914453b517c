"""The kind `cause` of `agentlab classify`: which step decided a failed trace."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.service.cli.exits import fail

if TYPE_CHECKING:
    from agentlab.service.causes import Found
    from agentlab.traces.causes.model import Cause, CauseModel

CHARS_PER_TOKEN = 3
"""On the safe side: English text has four, code and numbers fewer."""
PROMPT_TOKENS = 4_000
"""What is kept free of a judge's context for the question and the answer."""
ONLY_AGENT = 0.995
"""The probability from which on there is nobody else to blame."""


def window_chars(judge_context: int) -> int:
    """Characters of a trace that a judge with so many tokens of context reads at once."""
    return (judge_context - PROMPT_TOKENS) * CHARS_PER_TOKEN


def say_what_causes_are() -> None:
    """On standard error, for whoever reads the lines and not the page about them."""
    print(
        "cause: the step to open first, and no finding: even people name the same step in a third of such traces only, "
        "and its category is hardly ever better than a guess (docs/causes.md); `traces locate` measures it",
        file=sys.stderr,
        flush=True,
    )


def own_weights(path: Path | None) -> CauseModel | None:
    """The weights in a file of the user's; None where there is none."""
    from agentlab.traces.causes.model import CauseFileError, own_model

    try:
        return None if path is None else own_model(path)
    except CauseFileError as error:
        fail(f"--weights {path}: {error}")


def classify_causes(
    path: Path, *, judge: str, judge_key: str, judge_window: int, as_json: bool, weights: Path | None
) -> None:
    """Show the cause of each failed trace in a file or folder of other tools. Raises what the service raises."""
    from agentlab.service import event_loop
    from agentlab.traces.errors import FormatError

    async def show_all() -> bool:
        from agentlab.service.causes import classified_causes, judged_causes

        any_found = False
        if not judge:
            if not as_json:
                say_what_causes_are()
            for each in classified_causes(path, own_weights(weights)):
                any_found = True
                show_cause(each, as_json=as_json)
            return any_found
        async for each in judged_causes(path, judge, window_chars=judge_window, key_variable=judge_key):
            any_found = True
            show_cause(each, as_json=as_json)
        return any_found

    try:
        found = event_loop.run(show_all)
    except FormatError as error:
        fail(str(error))
    if not found and not as_json:
        print("no trace of a failed trial is in it")


def show_cause(found: Found, *, as_json: bool) -> None:
    """One line."""
    from agentlab.traces.render import clean

    if as_json:
        print(json.dumps(found.as_dict()), flush=True)
        return
    cause = found.cause
    if cause.step is None:
        print(clean(f"{found.id}: unknown ({cause.note})"), flush=True)
        return
    quote = f': "{cause.quote}"' if cause.quote else ""
    category = "category unknown" if cause.category == "unknown" else cause.category
    line = f"{found.id}: step {cause.step + 1} by {cause.agent}, {category} ({cause.author}{_how_sure(cause)}){quote}"
    print(clean(line).replace("\n", " "), flush=True)


def _how_sure(cause: Cause) -> str:
    """The probability of the step, that of its agent where there are others, and which steps come next."""
    if cause.step_score is None or cause.score is None:
        return ""
    agent = f", of the agent {cause.score:.2f}" if cause.score < ONLY_AGENT else ""
    others = [f"{suspect.seq + 1} {suspect.probability:.2f}" for suspect in cause.suspects if suspect.seq != cause.step]
    then = f"; then step {', '.join(others)}" if others else ""
    return f": probability of the step {cause.step_score:.2f}{agent}{then}"
