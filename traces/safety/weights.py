"""The weights that classifiers of answers are made of, as they lie in JSON files."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

import msgspec

from agentlab.traces.classifiers.errors import WeightsError
from agentlab.traces.classifiers.linear import LinearModel
from agentlab.traces.safety.features import VERSION
from agentlab.traces.safety.refusal import RefusalModel


class TrainedOn(msgspec.Struct, frozen=True):
    """A file that weights were fitted to."""

    file: str
    sha256: str
    rows: int


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """What every file of weights says of itself."""

    version: int
    features: int
    """The version of the features that the weights belong to."""
    trained_on: tuple[TrainedOn, ...]
    rebuild: str
    """The command that makes this file again from the same data."""
    scores: dict[str, Any]
    """Figures of the same procedure on rows that it was not fitted to."""

    def author(self, kind: str) -> str:
        """Who gives labels of a kind with these weights, as it stands in labels."""
        return f"{kind}-v{self.version}"


class RefusalWeights(Fitted, frozen=True, kw_only=True):
    """How far an answer complies."""

    kind: Literal["refusal"] = "refusal"
    model: RefusalModel


class HarmWeights(Fitted, frozen=True, kw_only=True):
    """Linear models of what was delivered, and of how the answer acts."""

    kind: Literal["harm"] = "harm"
    harmful: LinearModel
    action: LinearModel


_Weights = TypeVar("_Weights", RefusalWeights, HarmWeights)


def read_weights(data: bytes, kind: type[_Weights]) -> _Weights:
    """The weights in a JSON file. Raises WeightsError where it is none, damaged, or fitted to other features."""
    try:
        weights = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise WeightsError(f"this is no file of weights: {error}") from None
    if weights.features != VERSION:
        raise WeightsError(
            f"the weights were fitted to features of version {weights.features}, and these are version {VERSION}: "
            f"fit them again ({weights.rebuild})"
        )
    if isinstance(weights, RefusalWeights):
        weights.model.check()
    else:
        weights.harmful.check()
        weights.action.check()
    return weights


@cache
def refusal_weights() -> RefusalWeights:
    """Those that come with agentlab."""
    return read_weights(files("agentlab.traces.safety").joinpath("refusal.json").read_bytes(), RefusalWeights)


@cache
def harm_weights() -> HarmWeights:
    """Those that come with agentlab."""
    return read_weights(files("agentlab.traces.safety").joinpath("harm.json").read_bytes(), HarmWeights)
