"""A judge model as scorers see it: messages in, text out. The service wires it; scorers never open a model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from agentlab.models.options import ClientOptions
from agentlab.models.presence import Departures
from agentlab.models.prices import CostMeter
from agentlab.models.protocol import Model, Sampling
from agentlab.models.resolve import open_model, parse_model, probe
from agentlab.service.config import RunConfig
from agentlab.service.harness import ConfigError
from agentlab.service.models import client_options
from agentlab.traces.events import Judge, Message, Recorder

MakeJudge: TypeAlias = Callable[[Recorder], Judge]
"""Gives one attempt its judge, whose calls are recorded in that attempt's trace."""

JUDGE_SAMPLING = Sampling(temperature=0.0, max_tokens=2048)


class ModelJudge:
    """Asks one model, greedily. Raises ModelError, which the scorer's boundary turns into the outcome `verifier`."""

    def __init__(self, model: Model, recorder: Recorder) -> None:
        self._model = model
        self._recorder = recorder

    async def __call__(self, messages: Sequence[Message]) -> str:
        response = await self._model.chat(messages, sampling=JUDGE_SAMPLING, recorder=self._recorder)
        return response.message.text


@asynccontextmanager
async def open_judge(config: RunConfig, meter: CostMeter, departures: Departures) -> AsyncIterator[MakeJudge | None]:
    """The judge that the harness names, None where it names none. Raises ConfigError for a scripted one, ModelError."""
    if not config.harness.judge:
        yield None
        return
    options = client_options(config, meter, departures, "judge")
    async with named_judge(config.harness.judge, options, unlisted=config.harness.endpoint.unlisted) as make_judge:
        yield make_judge


@asynccontextmanager
async def named_judge(name: str, options: ClientOptions, *, unlisted: bool | None = None) -> AsyncIterator[MakeJudge]:
    """The judge that a user named; `unlisted` as for `probe`. Raises ConfigError for a scripted one, ModelError."""
    spec = parse_model(name)
    if spec.provider == "scripted":
        raise ConfigError(f"judge {name!r}: a scripted model cannot judge")
    if not spec.name:
        # The judge is part of what is measured, so it is named, not found out.
        raise ConfigError(f"judge {spec.shown!r}: name the model, {spec.shown}#NAME")
    model = await open_model(spec, options)
    try:
        await probe(model, unlisted=unlisted)
        yield lambda recorder: ModelJudge(model, recorder)
    finally:
        await model.close()
