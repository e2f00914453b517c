"""A model that answers from a recording up to a turn, and is another one from there on."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from agentlab.models.passing import PassingModel
from agentlab.models.protocol import DEFAULT_SAMPLING, ChatResponse, Model, ModelError, Sampling
from agentlab.models.recorded import RecordedModel
from agentlab.traces.divergence import without_volatile
from agentlab.traces.events import Message, ModelCall, Recorder, ToolSpec

SHOWN = 200


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is otherwise from the fork on, beside the model."""

    action: Message | None = None
    """Said in place of the recorded turn; the model goes on after it."""
    system: str | None = None
    """The system prompt of the turns that follow."""


class HandoverModel(PassingModel):
    """Serves the first `turn` answers of `calls`; then says `change.action`, where there is one; then asks `model`.

    Where the conversation at that turn is not the recorded one, volatile things left aside, the world has answered
    otherwise: that raises `ModelError("bad_request")`, for what follows would be no fork of the recorded trial.
    """

    def __init__(self, calls: Sequence[ModelCall], turn: int, model: Model, change: Change) -> None:
        super().__init__(model)
        self._recorded = RecordedModel(calls[:turn], strict=False)
        self._turn = turn
        self._here = calls[turn]
        self._action = change.action
        self._system = change.system
        self._asked = 0

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        sampling: Sampling = DEFAULT_SAMPLING,
        recorder: Recorder | None = None,
        epoch: int = 0,
    ) -> ChatResponse:
        place, self._asked = self._asked, self._asked + 1
        if place < self._turn:
            return await self._recorded.chat(messages, tools=tools, sampling=sampling, recorder=recorder, epoch=epoch)
        if place == self._turn:
            _refuse_another_course(self._here.messages, tuple(messages))
            if self._action is not None:
                return self._say(self._action, tuple(messages), tuple(tools), recorder)
        told = messages if self._system is None else _with_system(messages, self._system)
        return await super().chat(told, tools=tools, sampling=sampling, recorder=recorder, epoch=epoch)

    def _say(
        self, action: Message, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...], recorder: Recorder | None
    ) -> ChatResponse:
        response = ChatResponse(
            message=action, stop_reason="tool_calls" if action.tool_calls else "stop", model="corrected", cost_usd=0.0
        )
        if recorder is not None:
            call = ModelCall(
                at=time.time(),
                model="corrected",
                messages=messages,
                tools=tools,
                response=action,
                stop_reason=response.stop_reason,
                served_model="corrected",
                cached=True,
            )
            recorder.record(call)
        return response


def _with_system(messages: Sequence[Message], system: str) -> list[Message]:
    rest = [message for message in messages if message.role != "system"]
    return [Message(role="system", content=system), *rest] if system else rest


def _refuse_another_course(recorded: tuple[Message, ...], now: tuple[Message, ...]) -> None:
    """Raises ModelError where the conversation so far is not the recorded one."""
    for place, (old, new) in enumerate(zip(recorded, now, strict=False)):
        before, after = without_volatile(old.text), without_volatile(new.text)
        if old.role != new.role or before != after:
            start = max(next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0) - 40, 0)
            parts = f"{before[start : start + SHOWN]!r} then, {after[start : start + SHOWN]!r} now"
            raise _diverged(f"message {place + 1} ({old.role}): {parts}")
    if len(recorded) != len(now):
        raise _diverged(f"{len(recorded)} messages then, {len(now)} now")


def _diverged(what: str) -> ModelError:
    return ModelError("bad_request", f"the world answers otherwise before the fork: {what}")
