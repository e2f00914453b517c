"""A model that asks another one: what those share that do something beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentlab.models.protocol import DEFAULT_SAMPLING

if TYPE_CHECKING:
    from agentlab.models.protocol import ChatResponse, Model, Sampling, ScoreResponse
    from agentlab.traces.events import Message, Recorder, ToolSpec


class PassingModel:
    """Passes every request on. Whoever opened the model behind it closes that."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def name(self) -> str:
        return self._model.name

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        sampling: Sampling = DEFAULT_SAMPLING,
        recorder: Recorder | None = None,
        epoch: int = 0,
    ) -> ChatResponse:
        return await self._model.chat(messages, tools=tools, sampling=sampling, recorder=recorder, epoch=epoch)

    async def complete(
        self, prompt: str, *, sampling: Sampling = DEFAULT_SAMPLING, recorder: Recorder | None = None, epoch: int = 0
    ) -> ChatResponse:
        return await self._model.complete(prompt, sampling=sampling, recorder=recorder, epoch=epoch)

    async def score(
        self, prompt: str, continuations: Sequence[str], *, recorder: Recorder | None = None, epoch: int = 0
    ) -> ScoreResponse:
        return await self._model.score(prompt, continuations, recorder=recorder, epoch=epoch)

    async def close(self) -> None:
        return None
