"""Where a run's models come from: one shared client for an endpoint, or a scripted model for each trial."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from agentlab.models.options import ClientOptions
from agentlab.models.presence import Departures
from agentlab.models.prices import CostMeter, load_prices
from agentlab.models.protocol import Model
from agentlab.service.config import RunConfig
from agentlab.service.harness import ConfigError
from agentlab.service.planner import Route
from agentlab.tasks.types import Sample, Task
from agentlab.traces.events import Message, ToolCall

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class ModelSource(Protocol):
    """Gives each trial its model."""

    @property
    def provider(self) -> str: ...
    @property
    def name(self) -> str: ...
    def for_trial(self, task: Task, sample: Sample, route: Route, epoch: int) -> Model: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class SharedModel:
    """One model for all trials: a client of an endpoint."""

    model: Model
    provider: str
    name: str

    def for_trial(self, task: Task, sample: Sample, route: Route, epoch: int) -> Model:
        return self.model

    async def close(self) -> None:
        await self.model.close()


@dataclass(frozen=True, slots=True)
class ScriptedModels:
    """A scripted model for each trial, built from the sample: it never leaves the process."""

    name: str
    build: Callable[[Task, Sample, Route, int], Model]
    provider: str = "scripted"

    def for_trial(self, task: Task, sample: Sample, route: Route, epoch: int) -> Model:
        return self.build(task, sample, route, epoch)

    async def close(self) -> None:
        return None


def scripted(
    name: str,
    *,
    seed: int,
    targets: Callable[[Task], Iterable[str]],
    offered: Callable[[Route], Container[str]],
) -> ScriptedModels:
    """`reference` plays a sample's solution, `nop` does nothing, `random` and `majority` are the floors of choice
    tasks.

    `targets` gives the targets of a task's selected samples; only `majority` asks. `offered` gives the names of a
    route's tools.
    """
    from agentlab.models.scripted import MajorityModel, NopModel, RandomModel, ReferenceModel

    if name == "reference":
        return ScriptedModels(
            name,
            lambda task, sample, route, epoch: ReferenceModel(
                reference_messages(task, sample, route, offered(route)), best=letter_index(first_target(sample))
            ),
        )
    if name == "nop":
        return ScriptedModels(name, lambda task, sample, route, epoch: NopModel())
    if name == "random":
        return ScriptedModels(
            name,
            lambda task, sample, route, epoch: RandomModel(
                answer_letters(sample), seed=f"{seed}/{task.name}/{sample.id}/{epoch}"
            ),
        )
    most: dict[str, str] = {}

    def majority(task: Task, sample: Sample, route: Route, epoch: int) -> Model:
        if task.name not in most:
            common = Counter(targets(task)).most_common(1)
            most[task.name] = common[0][0] if common else ""
        return MajorityModel(most[task.name], index=letter_index(most[task.name]))

    return ScriptedModels(name, majority)


def answer_letters(sample: Sample) -> tuple[str, ...]:
    return tuple(LETTERS[: len(sample.choices)])


def first_target(sample: Sample) -> str:
    return sample.target if isinstance(sample.target, str) else (sample.target[0] if sample.target else "")


def letter_index(letter: str) -> int | None:
    """0 for A, 1 for B, ...; None for anything else."""
    return LETTERS.index(letter) if len(letter) == 1 and letter in LETTERS else None


def reference_messages(task: Task, sample: Sample, route: Route, tools: Container[str]) -> list[Message]:
    """What an assistant says that knows the solution: one message a step, in the words of the route's scaffold and
    `tools`.
    """
    solution = sample.solution if sample.solution is not None else first_target(sample)
    if route.scaffold == "direct":
        if isinstance(solution, str):
            return [Message(role="assistant", content=solution)]
        return [Message(role="assistant", tool_calls=solution)]
    calls = list(solution) if not isinstance(solution, str) else _answer_calls(task, solution, tools)
    steps = [Message(role="assistant", tool_calls=(call,)) for call in calls]
    if calls and calls[-1].name == "submit":
        return steps
    answer = solution if isinstance(solution, str) and not calls else ""
    if "submit" in tools:
        end = ToolCall(id=f"call_{len(calls)}", name="submit", arguments={"answer": answer} if answer else {})
        return [*steps, Message(role="assistant", tool_calls=(end,))]
    return [*steps, Message(role="assistant", content=answer)]


def _answer_calls(task: Task, solution: str, tools: Container[str]) -> list[ToolCall]:
    """The call that writes the task's answer file, where it has one and there is a tool for it."""
    if not task.answer_file or "edit" not in tools:
        return []
    arguments = {"path": task.answer_file, "old_text": "", "new_text": solution}
    return [ToolCall(id="call_0", name="edit", arguments=arguments)]


def client_options(
    config: RunConfig,
    meter: CostMeter | None,
    departures: Departures | None,
    purpose: Literal["agent", "judge"] = "agent",
) -> ClientOptions:
    """The harness's endpoint settings as a client wants them. Raises ConfigError for a price file that cannot be
    used.
    """
    endpoint = config.harness.endpoint
    prices = None
    if endpoint.prices:
        try:
            prices = load_prices(Path(endpoint.prices))
        except OSError as error:
            raise ConfigError(f"the price file {endpoint.prices} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(str(error)) from None
    return ClientOptions(
        client=endpoint.client,
        max_connections=config.max_connections,
        timeout_s=endpoint.timeout_s,
        connect_timeout_s=endpoint.connect_timeout_s,
        max_retries=endpoint.max_retries,
        requests_per_minute=endpoint.requests_per_minute,
        tokens_per_minute=endpoint.tokens_per_minute,
        stream=endpoint.stream,
        send_reasoning=config.harness.identity.thinking == "send",
        purpose=purpose,
        cache=Path(endpoint.cache) if endpoint.cache else None,
        prices=prices,
        cost=meter,
        departures=departures,
        api_key_env=endpoint.api_key_env or "",
    )
