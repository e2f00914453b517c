"""What a verifier wrote: `reward.json` before `reward.txt`, and how each can be wrong. The exit code means nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from agentlab.tasks.types import VerifierError

HEADLINE = "reward"
MAX_BYTES = 1 << 20
MAX_KEYS = 1000


class RewardMissingError(VerifierError):
    """The verifier wrote neither reward.json nor reward.txt."""


class RewardEmptyError(VerifierError):
    """The reward file is empty."""


class RewardInvalidError(VerifierError):
    """The reward file does not hold finite numbers."""


def parse_json(data: bytes) -> dict[str, float]:
    """A flat object of finite numbers. Raises RewardEmptyError and RewardInvalidError."""
    if not data.strip():
        raise RewardEmptyError("reward.json is empty")
    try:
        found = json.loads(data, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise RewardInvalidError(f"reward.json is not JSON: {error}") from None
    if not isinstance(found, dict) or not 0 < len(found) <= MAX_KEYS:
        raise RewardInvalidError(f"reward.json must be an object of 1 to {MAX_KEYS} numbers")
    return {name: _finite(value, f"reward.json: {name[:80]!r}") for name, value in found.items()}


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def parse_text(data: bytes) -> dict[str, float]:
    """One finite number. Raises RewardEmptyError and RewardInvalidError."""
    text = data.decode("utf-8", "replace").strip()
    if not text:
        raise RewardEmptyError("reward.txt is empty")
    try:
        number = float(text)
    except ValueError:
        raise RewardInvalidError(f"reward.txt holds no number but {text[:80]!r}") from None
    return {HEADLINE: _finite(number, "reward.txt")}


def _finite(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RewardInvalidError(f"{where} is no number: {str(value)[:80]!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise RewardInvalidError(f"{where} is not finite")
    return number


def headline(rewards: Mapping[str, float]) -> float:
    """The number that stands for all: `reward` where there is one, else their mean."""
    return rewards[HEADLINE] if HEADLINE in rewards else fmean(rewards.values())


def falls_short(rewards: Mapping[str, float], least: float | Mapping[str, float] | None) -> bool:
    """Whether a step earned less than its `min_reward`; a reward that is missing falls short of any."""
    if least is None:
        return False
    wanted = {HEADLINE: least} if isinstance(least, int | float) else least
    return any(rewards.get(name, -math.inf) < number for name, number in wanted.items())


def mean_of_steps(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Key by key over the steps that were graded; a key that one of them does not have counts 0 there."""
    names = dict.fromkeys(name for rewards in steps for name in rewards)
    return {name: fmean(rewards.get(name, 0.0) for rewards in steps) for name in names}
