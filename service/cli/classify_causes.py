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


def classify_causes(path: Path, *, judge: str, judge_context: int, judge_key: str, store: bool, as_json: bool) -> None:
    """Show the cause of each failed trace, and keep them as labels where asked to. Raises what the service raises."""
    from agentlab.service import event_loop
    from agentlab.traces.errors import FormatError

    async def all_found() -> list[Found]:
        from agentlab.service.causes import classified_causes, judged_causes

        found: list[Found] = []
        if not judge:
            for each in classified_causes(path):
                found.append(each)
                _show(each, as_json)
            return found
        window = (judge_context - PROMPT_TOKENS) * CHARS_PER_TOKEN
        async for each in judged_causes(path, judge, window_chars=window, key_variable=judge_key):
            found.append(each)
            _show(each, as_json)
        return found

    try:
        found = event_loop.run(all_found)
    except FormatError as error:
        fail(str(error))
    if store:
        _store(path, found)
    if not found and not as_json:
        print("no trace of a failed trial is in it")


def _show(found: Found, as_json: bool) -> None:
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


def _store(path: Path, found: list[Found]) -> None:
    from agentlab.service.labelling import add_labels

    if not (path / "run.json").is_file():
        fail("--store needs a run: bring the file in with `agentlab traces import`")
    labels = [label for each in found if (label := each.as_label()) is not None]
    print(f"{add_labels(path, labels, once=True)} labels are stored", flush=True)
