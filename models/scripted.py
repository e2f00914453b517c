"""Models that need no endpoint: they play a script, do nothing, guess, or call a function. All report zero tokens.

The service builds one for each trial from its sample: `ReferenceModel` must earn full marks and `NopModel` nothing, or
the task is wrong; `RandomModel` and `MajorityModel` are the baselines that a real model has to beat.
"""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from agentlab.models.protocol import DEFAULT_SAMPLING, IMPOSSIBLE, ChatResponse, ModelError, Sampling, ScoreResponse
from agentlab.traces.events import Message, ModelCall, Recorder, StopReason, ToolSpec

Respond = Callable[[Sequence[Message], Sequence[ToolSpec]], Message | str | Awaitable[Message | str]]
Prefer = Callable[[str, Sequence[str]], int | None]


class FunctionModel:
    """A model made of two functions: messages and tools to an answer; prompt and continuations to an index."""

    def __init__(self, respond: Respond, *, prefer: Prefer | None = None, name: str = "function") -> None:
        self._respond = respond
        self._prefer = prefer
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        sampling: Sampling = DEFAULT_SAMPLING,
        recorder: Recorder | None = None,
        epoch: int = 0,
    ) -> ChatResponse:
        response = await self._answer(messages, tools)
        if recorder is not None:
            recorder.record(self._call(response, sampling, messages=tuple(messages), tools=tuple(tools)))
        return response

    async def complete(
        self, prompt: str, *, sampling: Sampling = DEFAULT_SAMPLING, recorder: Recorder | None = None, epoch: int = 0
    ) -> ChatResponse:
        response = await self._answer((Message(role="user", content=prompt),), ())
        if recorder is not None:
            recorder.record(self._call(response, sampling, prompt=prompt))
        return response

    async def score(
        self, prompt: str, continuations: Sequence[str], *, recorder: Recorder | None = None, epoch: int = 0
    ) -> ScoreResponse:
        if self._prefer is None:
            raise ModelError("unsupported", f"the model {self._name} gives no log-likelihoods")
        best = self._prefer(prompt, continuations)
        logprobs = tuple(0.0 if index == best else IMPOSSIBLE for index in range(len(continuations)))
        if recorder is not None:
            wanted = tuple(continuations)
            recorder.record(
                ModelCall(at=time.time(), model=self._name, prompt=prompt, continuations=wanted, logprobs=logprobs)
            )
        greedy = tuple(index == best for index in range(len(continuations)))
        return ScoreResponse(logprobs=logprobs, greedy=greedy, token_counts=(1,) * len(continuations))

    async def close(self) -> None:
        return None

    async def _answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> ChatResponse:
        given = self._respond(messages, tools)
        answer = await given if inspect.isawaitable(given) else given
        message = Message(role="assistant", content=answer) if isinstance(answer, str) else answer
        stop_reason: StopReason = "tool_calls" if message.tool_calls else "stop"
        return ChatResponse(message=message, stop_reason=stop_reason, model=self._name)

    def _call(
        self,
        response: ChatResponse,
        sampling: Sampling,
        *,
        messages: tuple[Message, ...] = (),
        tools: tuple[ToolSpec, ...] = (),
        prompt: str = "",
    ) -> ModelCall:
        return ModelCall(
            at=time.time(),
            model=self._name,
            messages=messages,
            tools=tools,
            prompt=prompt,
            sampling=msgspec.to_builtins(sampling),
            response=response.message,
            stop_reason=response.stop_reason,
            served_model=self._name,
        )


class ScriptedModel(FunctionModel):
    """Plays assistant messages in order, and then empty ones. `best` is the index that `score` prefers (None: none)."""

    def __init__(self, script: Sequence[Message | str], *, best: int | None = None, name: str = "scripted") -> None:
        super().__init__(self._next, prefer=lambda _prompt, _continuations: best, name=name)
        self._script = iter(tuple(script))

    def _next(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Message | str:
        return next(self._script, "")


class ReferenceModel(ScriptedModel):
    """Plays a sample's solution: what earns full marks."""

    def __init__(self, script: Sequence[Message | str], *, best: int | None = None) -> None:
        super().__init__(script, best=best, name="reference")


class NopModel(ScriptedModel):
    """Does nothing: empty answers, no tool calls, no continuation preferred to another."""

    def __init__(self) -> None:
        super().__init__((), name="nop")


class RandomModel(FunctionModel):
    """Guesses one of `choices`, drawn from `seed` (say, sample id and epoch) and the question: the same each time."""

    def __init__(self, choices: Sequence[str], *, seed: str = "") -> None:
        super().__init__(self._guess, prefer=self._pick, name="random")
        self._choices = tuple(choices)
        self._seed = seed

    def _guess(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> str:
        asked = messages[-1].text if messages else ""
        return self._draw(asked).choice(self._choices) if self._choices else ""

    def _pick(self, prompt: str, continuations: Sequence[str]) -> int | None:
        return self._draw(prompt).randrange(len(continuations)) if continuations else None

    def _draw(self, asked: str) -> random.Random:
        return random.Random(f"{self._seed}\0{asked}")


class MajorityModel(FunctionModel):
    """Always gives the one answer that is right most often in a task; `score` prefers the continuation at `index`."""

    def __init__(self, answer: str, *, index: int | None = None) -> None:
        super().__init__(
            lambda _messages, _tools: answer, prefer=lambda _prompt, _continuations: index, name="majority"
        )
