"""The statistical classifier of causes: a linear score for each step, and what follows from it. It needs no library."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from operator import mul
from pathlib import Path
from typing import Any, Literal

import msgspec

from agentlab.traces.causes.features import VERSION, Scene, feature_rows
from agentlab.traces.causes.moments import read_moments
from agentlab.traces.steps import Trace

UNKNOWN = "unknown"


class CauseFileError(ValueError):
    """A file of weights cannot be used: it is no such file, or was fitted to other features."""


class Suspect(msgspec.Struct, frozen=True):
    """A step, who made it, and how probable it is that it decided the failure."""

    seq: int
    agent: str
    probability: float


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """Where a failed trace went wrong, as far as a source can tell."""

    source: Literal["classifier", "judge"]
    author: str
    """Which classifier or model, with its version."""
    agent: str
    """Who made the decisive step; `unknown` where the source abstains."""
    step: int | None
    """The decisive step, as the place of its event in the trace (`seq`, from 0); None where the source abstains."""
    category: str
    """One of AgentRx's categories, or `unknown`."""
    score: float | None
    """The probability of `agent`; None where the source states none."""
    step_score: float | None = None
    category_score: float | None = None
    suspects: tuple[Suspect, ...] = ()
    """The most probable steps, the best first."""
    quote: str = ""
    """The words of the step that a judge cites."""
    note: str = ""


class TrainedOn(msgspec.Struct, frozen=True):
    """A file that weights were fitted to."""

    file: str
    sha256: str
    traces: int


class CategoryHead(msgspec.Struct, frozen=True):
    """A multinomial logistic model of a decisive step's category."""

    names: tuple[str, ...]
    intercepts: tuple[float, ...]
    weights: tuple[dict[str, float], ...]


class CauseModel(msgspec.Struct, frozen=True, kw_only=True):
    """Weights over the features of a step, with what they were fitted to and how well they did on traces not seen."""

    kind: Literal["cause"] = "cause"
    version: int
    features: int
    """The version of the features that the weights belong to."""
    weights: dict[str, float]
    categories: CategoryHead
    trained_on: tuple[TrainedOn, ...]
    rebuild: str
    settings: dict[str, Any]
    scores: dict[str, Any]
    """Cross-validated figures of the same procedure."""
    digest: str = ""
    """The beginning of its file's SHA-256, where that is somebody's own and not the one that comes with agentlab."""

    @property
    def author(self) -> str:
        """Who gives its labels; of weights of one's own with their hash, so that nobody takes them for ours."""
        return f"cause-v{self.version}" + (f"+{self.digest}" if self.digest else "")

    def as_file(self) -> bytes:
        """As it is written: JSON, which does not say its own hash."""
        document = msgspec.to_builtins(self)
        del document["digest"]
        return msgspec.json.encode(document)

    def find(self, trace: Trace) -> Cause:
        """The most probable agent, that agent's most probable step, and the category; `unknown` where no agent spoke.

        A step's probability is the softmax of the scores of all steps that may be to blame; an agent's is the sum over
        its steps; a category's is the mean over the steps, weighted by their probability.
        """
        scene = Scene(read_moments(trace))
        rows = feature_rows(scene)
        if not rows:
            return unknown_cause("classifier", self.author, "nobody said or did anything")
        names, values = tuple(rows[0]), [tuple(row.values()) for row in rows]
        weights = _in_order(self.weights, names)
        probabilities = _softmax([_dot(weights, line) for line in values])
        suspects = [
            Suspect(scene.moments[place].step.seq, scene.moments[place].speaker, probability)
            for place, probability in zip(scene.suspects, probabilities, strict=True)
        ]
        agents: dict[str, float] = {}
        for suspect in suspects:
            agents[suspect.agent] = agents.get(suspect.agent, 0.0) + suspect.probability
        agent = max(agents, key=agents.__getitem__)
        ranked = sorted(suspects, key=lambda suspect: -suspect.probability)
        decisive = next(suspect for suspect in ranked if suspect.agent == agent)
        # The labels with categories are of agents that call tools for a user; of others the weights know nothing.
        known = any(row["calls"] or row["person"] for row in rows)
        category, category_score = self._category(names, values, probabilities) if known else (UNKNOWN, None)
        return Cause(
            source="classifier",
            author=self.author,
            agent=agent,
            step=decisive.seq,
            category=category,
            score=agents[agent],
            step_score=decisive.probability,
            category_score=category_score,
            suspects=tuple(ranked[:3]),
        )

    def _category(
        self, names: Sequence[str], values: list[tuple[float, ...]], probabilities: list[float]
    ) -> tuple[str, float | None]:
        head = self.categories
        if not head.names:
            return UNKNOWN, None
        lines = [_in_order(weights, names) for weights in head.weights]
        mixed = [0.0] * len(head.names)
        for row, probability in zip(values, probabilities, strict=True):
            scores = [start + _dot(line, row) for start, line in zip(head.intercepts, lines, strict=True)]
            mixed = [total + probability * share for total, share in zip(mixed, _softmax(scores), strict=True)]
        best = max(range(len(mixed)), key=mixed.__getitem__)
        return head.names[best], mixed[best]


def unknown_cause(source: Literal["classifier", "judge"], author: str, note: str) -> Cause:
    """The answer of a source that abstains, and why."""
    return Cause(source=source, author=author, agent=UNKNOWN, step=None, category=UNKNOWN, score=None, note=note)


def read_model(data: bytes) -> CauseModel:
    """The model in a JSON file. Raises CauseFileError where it is none, or was fitted to other features."""
    try:
        model = msgspec.json.decode(data, type=CauseModel)
    except msgspec.DecodeError as error:
        raise CauseFileError(f"this is no file of cause weights: {error}") from None
    if model.features != VERSION:
        raise CauseFileError(
            f"the weights were fitted to features of version {model.features}, and these are version {VERSION}: "
            f"fit them again ({model.rebuild})"
        )
    head = model.categories
    if not len(head.names) == len(head.intercepts) == len(head.weights):
        raise CauseFileError("a category lacks its weights")
    return model


def own_model(path: Path) -> CauseModel:
    """The weights in somebody's own file. Raises CauseFileError, OSError."""
    data = path.read_bytes()
    return msgspec.structs.replace(read_model(data), digest=hashlib.sha256(data).hexdigest()[:8])


@cache
def shipped_model() -> CauseModel:
    """The weights that come with agentlab."""
    return read_model(files("agentlab.traces.causes").joinpath("weights.json").read_bytes())


def _in_order(weights: Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """The weights of the features as a row has them."""
    return tuple(weights.get(name, 0.0) for name in names)


def _dot(weights: tuple[float, ...], row: tuple[float, ...]) -> float:
    return float(sum(map(mul, weights, row)))


def _softmax(scores: list[float]) -> list[float]:
    highest = max(scores)
    shares = [math.exp(score - highest) for score in scores]
    total = sum(shares)
    return [share / total for share in shares]
