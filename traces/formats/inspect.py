"""Logs of Inspect: `{eval, plan, results, stats, samples}`, as one JSON document or as an archive of its samples."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import msgspec

from agentlab.traces.events import Event, Flag, Said, ToolCallEvent, Usage
from agentlab.traces.formats.chat import conversation
from agentlab.traces.formats.imported import ImportedTrace, Source, finite_of, is_list_of, rest_of, text_of

NAME = "inspect"

_VALUES = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Verdicts in words, as Inspect's own `value_to_float` reads them: correct, partial, incorrect, no answer."""
_LIMITS: dict[str, Flag] = {
    "message": "turn_limit",
    "turn": "turn_limit",
    "token": "token_limit",
    "time": "time_limit",
    "working": "time_limit",
    "cost": "cost_limit",
}
_ERRORS: dict[str, Literal["bad_arguments", "timeout"]] = {"parsing": "bad_arguments", "timeout": "timeout"}
_ATTACHMENT = "attachment://"
_MAPPED = ("id", "target", "messages", "error")


def matches(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("eval"), dict) and "task" in record["eval"]


def split(record: dict[str, Any], source: Source) -> Iterator[tuple[Source, dict[str, Any]]]:
    """The samples of a log as logs of one sample; what is said of the whole log stays with the first one."""
    head, samples = record.get("eval"), record.get("samples")
    if not isinstance(head, dict):
        raise source.error("an object is expected", "eval")
    if not isinstance(samples, list) or not samples:
        raise source.error("the log holds no samples", "samples")
    for place, sample in enumerate(samples):
        where = source if len(samples) == 1 and source.record else source.within(f"samples[{place}]")
        log = record if place == 0 else {"eval": head}
        yield where, {**log, "samples": [sample]}


def read(record: dict[str, Any], source: Source) -> Iterator[ImportedTrace]:
    """The trace of a log's one sample: its messages, with times and durations from its events. Raises FormatError."""
    head, sample = record["eval"], record["samples"][0]
    if not isinstance(sample, dict):
        raise source.error("a sample is an object")
    attachments = sample.get("attachments")
    messages = _resolved(sample.get("messages"), attachments if isinstance(attachments, dict) else {})
    if isinstance(messages, list):
        messages = [_tool_named(message) for message in messages]
    talk = conversation(messages, source)
    scores, headline = _scores(sample.get("scores"))
    log = {key: value for key, value in record.items() if key != "samples"}
    limit = sample.get("limit")
    flag = _LIMITS.get(str(limit.get("type"))) if isinstance(limit, dict) else None
    error = sample.get("error")
    rest = rest_of(sample, *_MAPPED) | talk.kept("messages")
    if len(log) > 1:
        rest["log"] = log
    yield ImportedTrace(
        format=NAME,
        source=source,
        task=text_of(head.get("task")),
        sample=text_of(sample.get("id")),
        model=text_of(head.get("model")),
        events=tuple(_timed(talk.events, messages, sample.get("events"))),
        value=headline.pop("value", None),
        scores=scores,
        target=_target(sample.get("target")),
        answer=text_of(headline.get("answer")),
        explanation=text_of(headline.get("explanation")),
        flags=(flag,) if flag else (),
        outcome="task" if error else None,
        error=("inspect", text_of(error.get("message") if isinstance(error, dict) else error)) if error else None,
        usage=_usage(sample.get("model_usage")),
        rest=rest,
    )


def _tool_named(message: Any) -> Any:
    """A tool's answer says which `function` it is of."""
    if isinstance(message, dict) and message.get("role") == "tool" and "name" not in message:
        return {**message, "name": message.get("function")}
    return message


def _resolved(value: Any, attachments: dict[str, Any]) -> Any:
    """`value` with the long texts in place that the log keeps once, as attachments."""
    if not attachments:
        return value
    if isinstance(value, str) and value.startswith(_ATTACHMENT):
        return attachments.get(value.removeprefix(_ATTACHMENT), value)
    if isinstance(value, dict):
        return {key: _resolved(item, attachments) for key, item in value.items()}
    return [_resolved(item, attachments) for item in value] if isinstance(value, list) else value


def _timed(events: list[Event], messages: list[Any], told: Any) -> Iterator[Event]:
    """The messages' events with the times at which models and tools were done."""
    when: dict[str, tuple[float, float]] = {}
    for event in told if is_list_of(told, "event") else ():
        if not isinstance(event, dict):
            continue
        done = (_time(event.get("completed") or event.get("timestamp")), _seconds(event.get("working_time")))
        if event.get("event") == "model":
            when.setdefault(_message_id(event), done)
        elif event.get("event") == "tool":
            when[text_of(event.get("id"))] = done
    for event, message in zip(events, messages, strict=True):
        if isinstance(event, Said):
            at, _ = when.get(text_of(message.get("id")), (0.0, 0.0))
            yield msgspec.structs.replace(event, at=at) if at else event
        elif isinstance(event, ToolCallEvent):
            yield _answered(event, message, *when.get(event.call.id, (0.0, 0.0)))
        else:
            yield event


def _answered(event: ToolCallEvent, message: dict[str, Any], at: float, seconds: float) -> ToolCallEvent:
    result, error = event.result, message.get("error")
    if isinstance(error, dict):
        kind = _ERRORS.get(str(error.get("type")), "failed")
        result = msgspec.structs.replace(result, error=kind, content=result.content or text_of(error.get("message")))
    return msgspec.structs.replace(event, at=at, result=result, duration_ms=seconds * 1000)


def _message_id(event: dict[str, Any]) -> str:
    try:
        return text_of(event["output"]["choices"][0]["message"]["id"])
    except (KeyError, IndexError, TypeError):
        return ""


def _time(text: Any) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _seconds(value: Any) -> float:
    return max(finite_of(value) or 0.0, 0.0)


def _scores(scores: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """Every score that is a number, by its scorer, and the first scorer's verdict: the headline."""
    found: dict[str, float] = {}
    headline: dict[str, Any] = {}
    for name, score in scores.items() if isinstance(scores, dict) else ():
        if not isinstance(score, dict):
            continue
        value = score.get("value")
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, verdict in parts:
            number = _number(verdict)
            if number is not None:
                found[f"{name}.{part}" if part else name] = number
        if not headline:
            headline = {"answer": score.get("answer"), "explanation": score.get("explanation")}
            if (number := _number(value)) is not None:
                headline["value"] = number
    return found, headline


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return _VALUES.get(value.lower())
    return finite_of(value)


def _target(target: Any) -> str:
    return " | ".join(map(text_of, target)) if isinstance(target, list) else text_of(target)


def _usage(usage: Any) -> Usage:
    """Tokens of all models of the sample; what was read from a cache counts as input."""
    total = Usage()
    for used in usage.values() if isinstance(usage, dict) else ():
        if isinstance(used, dict):
            count = {key: value if isinstance(value, int) else 0 for key, value in used.items()}
            cached, out = count.get("input_tokens_cache_read", 0), count.get("output_tokens", 0)
            everything = count.get("total_tokens", 0)
            fresh = everything - out if everything > out else count.get("input_tokens", 0) + cached
            total += Usage(fresh, out, cached, count.get("reasoning_tokens", 0))
    return total
