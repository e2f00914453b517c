"""A trial as an OpenTelemetry trace, in OTLP's JSON: the trial is the root span, model and tool calls are its children,
the verdict an event of the root.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from agentlab.traces.events import Message, ModelCall, Said, Scored, ToolCallEvent
from agentlab.traces.formats.exported import Trial

SCHEMA_URL = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"
"""The conventions whose names stand below: open-telemetry/semantic-conventions-genai at commit 67dff02. All of them are
of status Development: a later version may rename them, and this is the one place to follow it.
"""
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
AGENT = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_SAMPLING = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
}
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
EVALUATION = "gen_ai.evaluation.result"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_VALUE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_WHY = "gen_ai.evaluation.explanation"
ERROR_TYPE = "error.type"

_INTERNAL, _CLIENT = 1, 3  # SpanKind
_FAILED = 2  # StatusCode
Span = dict[str, Any]


def request_of(trial: Trial) -> dict[str, Any]:
    """An `ExportTraceServiceRequest` with the trial's spans."""
    row = trial.row
    trace_id = hashlib.blake2b(trial.id.encode(), digest_size=16).hexdigest()
    root = _Spans(trial, trace_id)
    spans = [root.of_trial(), *root.of_steps()]
    resource = {"service.name": "agentlab", "agentlab.run": trial.run_id, "agentlab.task": row.task}
    scope = {"name": "agentlab", "version": str(trial.document.get("agentlab", ""))}
    scoped = {"scope": scope, "schemaUrl": SCHEMA_URL, "spans": spans}
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scoped]}]}


class _Spans:
    """The spans of one trial."""

    def __init__(self, trial: Trial, trace_id: str) -> None:
        self._trial = trial
        self._trace_id = trace_id
        self._root = self._id("root")

    def of_trial(self) -> Span:
        trial, row = self._trial, self._trial.row
        begin, end = row.started_at, row.ended_at or row.started_at
        span = self._span("root", f"invoke_agent {trial.agent}", _INTERNAL, begin, end)
        del span["parentSpanId"]
        span["attributes"] = _attributes(
            {
                OPERATION: "invoke_agent",
                AGENT: trial.agent,
                CONVERSATION: trial.id,
                REQUEST_MODEL: trial.model,
                INPUT_TOKENS: row.usage.input_tokens,
                OUTPUT_TOKENS: row.usage.output_tokens,
                "agentlab.trial": row.trial,
                "agentlab.sample": row.sample,
                "agentlab.epoch": row.epoch,
                "agentlab.outcome": row.outcome or "cancelled",
                "agentlab.labels": [f"{label.name}:{label.value}" for label in trial.labels if label.seq is None],
                ERROR_TYPE: row.error_kind,
            }
        )
        graded = (stored.event for stored in trial.trace.of(Scored))
        span["events"] = [_verdict(event) for event in graded if isinstance(event, Scored)]
        if row.outcome not in ("scored", None):
            error = trial.trace.error
            span["status"] = {"code": _FAILED, "message": error.message if error is not None else row.error_message}
        return span

    def of_steps(self) -> Iterable[Span]:
        for stored in self._trial.trace.events:
            event = stored.event
            if isinstance(event, ModelCall):
                yield self._chat(stored.seq, event)
            elif isinstance(event, Said) and event.message.role == "assistant":
                yield self._turn(stored.seq, event)
            elif isinstance(event, ToolCallEvent):
                yield self._tool(stored.seq, event)

    def _chat(self, seq: int, call: ModelCall) -> Span:
        span = self._span(seq, f"chat {call.model}", _CLIENT, call.at - call.latency_ms / 1000, call.at)
        asked = [Message(role="user", content=call.prompt)] if call.prompt else call.messages
        sampling = {name: call.sampling.get(key) for key, name in REQUEST_SAMPLING.items()}
        return self._with(
            span,
            seq,
            {
                OPERATION: "chat",
                PROVIDER: str(self._trial.document.get("provider") or ""),
                REQUEST_MODEL: call.model,
                RESPONSE_MODEL: call.served_model,
                RESPONSE_ID: call.request_id,
                FINISH_REASONS: [call.stop_reason],
                INPUT_TOKENS: call.usage.input_tokens,
                OUTPUT_TOKENS: call.usage.output_tokens,
                INPUT_MESSAGES: _messages(asked),
                OUTPUT_MESSAGES: _messages([call.response]) if call.response is not None else "",
                "agentlab.purpose": call.purpose,
                **sampling,
            },
        )

    def _turn(self, seq: int, event: Said) -> Span:
        """A turn of an imported trace: nobody knows when it began."""
        span = self._span(seq, f"chat {self._trial.model}".rstrip(), _CLIENT, event.at, event.at)
        told = {OPERATION: "chat", REQUEST_MODEL: self._trial.model, AGENT: event.message.name}
        return self._with(span, seq, told | {OUTPUT_MESSAGES: _messages([event.message])})

    def _tool(self, seq: int, event: ToolCallEvent) -> Span:
        name = f"execute_tool {event.call.name}"
        span = self._span(seq, name, _INTERNAL, event.at - event.duration_ms / 1000, event.at)
        if event.result.error:
            span["status"] = {"code": _FAILED, "message": event.result.error}
        told = {
            OPERATION: "execute_tool",
            TOOL_NAME: event.call.name,
            TOOL_CALL_ID: event.call.id,
            TOOL_ARGUMENTS: event.call.raw or json.dumps(event.call.arguments, default=repr),
            TOOL_RESULT: event.result.content,
            ERROR_TYPE: event.result.error,
        }
        return self._with(span, seq, told)

    def _with(self, span: Span, seq: int, told: dict[str, Any]) -> Span:
        labels = [f"{label.name}:{label.value}" for label in self._trial.labels if label.seq == seq]
        common = {CONVERSATION: self._trial.id, "agentlab.seq": seq, "agentlab.labels": labels}
        return {**span, "attributes": _attributes({**told, **common})}

    def _span(self, key: object, name: str, kind: int, begin: float, end: float) -> Span:
        times = {"startTimeUnixNano": _nanos(begin), "endTimeUnixNano": _nanos(max(begin, end))}
        ids = {"traceId": self._trace_id, "spanId": self._id(key), "parentSpanId": self._root}
        return {**ids, "name": name, "kind": kind, **times}

    def _id(self, key: object) -> str:
        return hashlib.blake2b(f"{self._trace_id}/{key}".encode(), digest_size=8).hexdigest()


def _verdict(event: Scored) -> dict[str, Any]:
    told = {
        EVALUATION_NAME: event.scorer,
        EVALUATION_VALUE: event.value,
        EVALUATION_LABEL: ", ".join(event.flags),
        EVALUATION_WHY: event.explanation,
    }
    return {"name": EVALUATION, "timeUnixNano": _nanos(event.at), "attributes": _attributes(told)}


def _messages(messages: Iterable[Message]) -> str:
    """Messages as the conventions write them: a role and typed parts, in JSON."""
    return json.dumps([{"role": message.role, "parts": _parts(message)} for message in messages], default=repr)


def _parts(message: Message) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_call_response", "id": message.tool_call_id, "response": message.text}]
    parts: list[dict[str, Any]] = []
    if message.reasoning:
        parts.append({"type": "reasoning", "content": message.reasoning})
    if message.text:
        parts.append({"type": "text", "content": message.text})
    for call in message.tool_calls:
        arguments = call.raw or call.arguments
        parts.append({"type": "tool_call", "id": call.id, "name": call.name, "arguments": arguments})
    return parts


def _nanos(seconds: float) -> str:
    return str(max(int(seconds * 1e9), 0))


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP writes them; those that say nothing are left out. Whole numbers are texts in OTLP's JSON."""
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value not in (None, "", [])]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": str(value)}
