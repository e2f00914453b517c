"""Who&When (Zhang et al. 2025, "Which Agent Causes Task Failures and When?"): failed runs of several agents, each with
the agent and the step that people hold to be decisive.

A record is `{question, question_ID, history: [{role, name, content}], ground_truth, is_correct, mistake_agent,
mistake_step, mistake_reason}`. `mistake_step` counts the history from 0, and so do the events of the trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentlab.traces.formats.chat import conversation
from agentlab.traces.formats.imported import (
    MAX_NOTE,
    ImportedLabel,
    ImportedTrace,
    Source,
    is_list_of,
    rest_of,
    text_of,
)
from agentlab.traces.taxonomy import CAUSE, UNKNOWN

NAME = "whowhen"
_LABELLED = ("mistake_agent", "mistake_step", "mistake_reason")
_CORRECT = ("is_correct", "is_corrected")  # both spellings are in the published files


def matches(record: Any) -> bool:
    """Also a record whose labels are not known yet."""
    told = isinstance(record, dict) and ("mistake_step" in record or "question_ID" in record)
    return told and is_list_of(record.get("history"), "content")


def read(record: dict[str, Any], source: Source) -> Iterator[ImportedTrace]:
    """The record's trace with what people found, which stays in `rest` too. Raises FormatError."""
    history, roles = record.get("history"), {}
    if isinstance(history, list):
        prompts = record.get("system_prompt")
        agents = frozenset(prompts) if isinstance(prompts, dict) else frozenset[str]()
        read_as = [_named(turn, agents) for turn in history]
        roles = {
            str(place): {"role": turn["role"]}
            for place, (turn, changed) in enumerate(zip(history, read_as, strict=True))
            if changed is not turn
        }
        history = read_as
    talk = conversation(history, source, "history")
    correct = next((record[key] for key in _CORRECT if key in record), None)
    if correct is not None and not isinstance(correct, bool):
        raise source.error("true or false is expected", "is_correct")
    labels = _labels(record, len(talk.events))
    rest = rest_of(record, "history", "question_ID", "ground_truth", *_CORRECT) | _merged(talk.rest, roles)
    yield ImportedTrace(
        format=NAME,
        source=source,
        task=source.collection,
        sample=text_of(record.get("question_ID")) or source.stem,
        events=tuple(talk.events),
        value=None if correct is None else float(correct),
        target=text_of(record.get("ground_truth")),
        labels=labels,
        rest=rest,
        unmapped=tuple(key for key in rest if not (labels and key in _LABELLED)),
    )


def _labels(record: dict[str, Any], turns: int) -> tuple[ImportedLabel, ...]:
    """The decisive step. Who&When says who and why, and gives no category."""
    step = text_of(record.get("mistake_step"))
    if not (step.isascii() and step.isdigit()) or int(step[:9]) >= turns:
        return ()
    told = [f"agent {text_of(record.get('mistake_agent'))}", text_of(record.get("mistake_reason"))]
    note = "; ".join(part for part in told if part.strip())[:MAX_NOTE]
    return (ImportedLabel(name=CAUSE, value=UNKNOWN, author=NAME, seq=int(step), note=note),)


def _named(turn: Any, agents: frozenset[str]) -> Any:
    """A turn with an agent as what it is. The files write who speaks from the view of one of them: the others are
    `user`, whatever they are, or stand in the role: `{"role": "Orchestrator (thought)", "content": ...}`.
    """
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        return turn
    role = turn["role"]
    if role == "user" and text_of(turn.get("name")) in agents:
        return {**turn, "role": "assistant"}
    if role in ("system", "user", "assistant", "tool"):
        return turn
    return {**turn, "name": role, "role": "user" if role.lower() == "human" else "assistant"}


def _merged(rest: dict[str, Any], roles: dict[str, Any]) -> dict[str, Any]:
    """What the turns say beyond their events, with the roles as they stood in the file."""
    both = {place: {**roles.get(place, {}), **rest.get(place, {})} for place in {**roles, **rest}}
    return {"history": both} if both else {}
