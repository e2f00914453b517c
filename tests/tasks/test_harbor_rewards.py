"""Reward files of a verifier: what counts, and how each can be wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.tasks.harbor.rewards import (
    RewardEmptyError,
    RewardInvalidError,
    falls_short,
    headline,
    mean_of_steps,
    parse_json,
    parse_text,
)
from agentlab.tasks.types import VerifierError


@pytest.mark.parametrize(
    ("data", "rewards"), [(b'{"reward": 1}', {"reward": 1.0}), (b'{"a": 0.5, "b": -2}', {"a": 0.5, "b": -2.0})]
)
def test_a_flat_object_of_numbers(data: bytes, rewards: dict[str, float]) -> None:
    assert parse_json(data) == rewards


@pytest.mark.parametrize(
    "data",
    [
        b"1",
        b"[1]",
        b"{}",
        b"{",
        b'{"a": "1"}',
        b'{"a": true}',
        b'{"a": null}',
        b'{"a": {"b": 1}}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 0}',
        b"\xff",
        b"[" * 100_000,
        b'{"a": 1' + b"0" * 400 + b"}",
    ],
)
def test_anything_else_is_no_verdict(data: bytes) -> None:
    with pytest.raises(RewardInvalidError):
        parse_json(data)


@pytest.mark.parametrize(("data", "value"), [(b"1", 1.0), (b" 0.5\n", 0.5), (b"-1e-3", -0.001)])
def test_one_number_as_text(data: bytes, value: float) -> None:
    assert parse_text(data) == {"reward": value}


@pytest.mark.parametrize("data", [b"yes", b"nan", b"inf", b"1 2", b"0x10", b"\xff"])
def test_other_text_is_no_verdict(data: bytes) -> None:
    with pytest.raises(RewardInvalidError):
        parse_text(data)


def test_an_empty_file_is_an_error_of_its_own() -> None:
    for parse in (parse_json, parse_text):
        with pytest.raises(RewardEmptyError):
            parse(b" \n")


@given(st.binary())
def test_any_bytes_are_finite_numbers_or_a_verifiers_error(data: bytes) -> None:
    for parse in (parse_json, parse_text):
        try:
            rewards = parse(data)
        except VerifierError:
            continue
        assert rewards and all(math.isfinite(value) for value in rewards.values())


def test_the_headline_is_the_reward_else_the_mean() -> None:
    assert headline({"reward": 0.2, "speed": 9.0}) == 0.2
    assert headline({"a": 1.0, "b": 0.0}) == 0.5


def test_a_step_falls_short_of_any_of_its_thresholds() -> None:
    assert not falls_short({"reward": 0.5}, None)
    assert not falls_short({"reward": 0.5}, 0.5)
    assert falls_short({"reward": 0.4}, 0.5)
    assert falls_short({"speed": 1.0}, 0.5)
    assert falls_short({"a": 1.0, "b": 0.0}, {"a": 1.0, "b": 0.5})


def test_the_mean_of_steps_counts_a_missing_number_as_0() -> None:
    assert mean_of_steps([{"a": 1.0}, {"a": 0.0, "b": 1.0}]) == {"a": 0.5, "b": 0.5}
