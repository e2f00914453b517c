"""The kind `cause` of `agentlab classify`: which step decided a failed trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.service.cli.exits import fail

if TYPE_CHECKING:
    from agentlab.service.causes import Found

CHARS_PER_TOKEN = 3
"""On the safe side: English text has four, code and numbers fewer."""
PROMPT_TOKENS = 4_000
"""What is kept free of a judge's context for the question and the answer."""


def window_chars(judge_context: int) -> int:
    """Characters of a trace that a judge with so many tokens of context reads at once."""
    return (judge_context - PROMPT_TOKENS) * CHARS_PER_TOKEN


def classify_causes(path: Path, *, judge: str, judge_key: str, judge_window: int, as_json: bool) -> None:
    """Show the cause of each failed trace in a file or folder of other tools. Raises what the service raises."""
    from agentlab.service import event_loop
    from agentlab.traces.errors import FormatError

    async def show_all() -> bool:
        from agentlab.service.causes import classified_causes, judged_causes

        any_found = False
        if not judge:
            for each in classified_causes(path):
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
    sure = "" if cause.score is None else f", {cause.score:.2f} sure of the agent"
    quote = f': "{cause.quote}"' if cause.quote else ""
    line = f"{found.id}: step {cause.step + 1} by {cause.agent}, {cause.category} ({cause.author}{sure}){quote}"
    print(clean(line).replace("\n", " "), flush=True)
