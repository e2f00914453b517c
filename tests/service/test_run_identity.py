"""Identity: what makes two configurations the same measurement."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentlab.models.protocol import Sampling
from agentlab.service.config import config_hash, config_identity
from agentlab.service.harness import load_harness
from agentlab.service.prepare import Plan
from agentlab.service.run_id import new_run_id

TOOL = {"name": "lookup", "description": "Look up.", "parameters": {"type": "object", "properties": {}}}


def identity(
    *settings: str,
    harness: str = "tools",
    model: str = "tiny",
    scaffold: str = "tools",
    sampling: Sampling = Sampling(temperature=0.0),  # noqa: B008  frozen
    tools: list[dict[str, Any]] | None = None,
    in_box: bool = False,
) -> dict[str, Any]:
    return config_identity(
        load_harness(harness, settings),
        provider="vllm",
        model=model,
        scaffold=scaffold,
        sampling=sampling,
        tools=[TOOL] if tools is None else tools,
        in_box=in_box,
    )


def test_golden_hashes() -> None:
    """These hashes are in stored runs. A field that is added with a default must leave them as they are."""
    direct = config_identity(
        load_harness("direct"),
        provider="vllm",
        model="tiny",
        scaffold="direct",
        sampling=Sampling(temperature=0.0, max_tokens=4096),
        tools=[],
    )
    assert direct == {
        "v": 1,
        "provider": "vllm",
        "model": "tiny",
        "scaffold": "direct",
        "sampling": {"temperature": 0.0, "max_tokens": 4096},
    }
    assert config_hash(direct) == "34fcd63ea5dd01f0"
    assert config_hash(identity()) == "e587a693290919ab"


@pytest.mark.parametrize(
    "setting",
    [
        "endpoint.timeout_s=5",
        "endpoint.max_retries=1",
        "endpoint.cache=/tmp/cache.db",
        "endpoint.stream=true",
        "endpoint.api_key_env=KEY",
        "name=other",
        "limits.attempts=1",
        "model=http://elsewhere:1/v1#x",
        "limits.tool_timeout_s=60",
    ],
)
def test_what_changes_nothing_in_what_is_measured(setting: str) -> None:
    assert identity(setting) == identity()
    assert identity(setting, in_box=True) == identity()


@pytest.mark.parametrize(
    "setting",
    [
        "system=Another prompt.",
        "tools=[bash, submit]",
        "limits.turns=10",
        "limits.time_s=60",
        "limits.tokens=1000",
        "limits.tool_output=100",
        "identity.revision=abc",
        "identity.adapter=lora",
        "identity.chat_template=own",
        "identity.thinking=send",
        "judge=vllm/judge",
        "box.memory_mb=2048",
        "box.image=own/image:1",
    ],
)
def test_what_makes_another_measurement(setting: str) -> None:
    assert config_hash(identity(setting, in_box=True)) != config_hash(identity(in_box=True))


def test_model_sampling_tools_and_scaffold_are_part_of_it() -> None:
    base = config_hash(identity())
    assert config_hash(identity(model="large")) != base
    assert config_hash(identity(sampling=Sampling(temperature=0.5))) != base
    assert config_hash(identity(tools=[{**TOOL, "description": "Another."}])) != base
    assert config_hash(identity(scaffold="direct")) != base


def test_a_plain_question_does_not_depend_on_the_harness_that_it_does_not_meet() -> None:
    """gsm8k is the same measurement under `--harness tools`: the effective scaffold counts."""
    plain = {"scaffold": "direct", "sampling": Sampling(temperature=0.0), "tools": []}
    assert identity(harness="tools", **plain) == identity(harness="direct", **plain)


def test_a_judge_goes_by_its_name() -> None:
    assert identity("judge=http://a:1/v1#j") == identity("judge=http://b:2/v1#j")


def test_a_runs_hashes_ignore_where_and_how_fast(plan: Callable[..., Plan], tmp_path: Path) -> None:
    def hashes(**fields: Any) -> dict[str, Any]:
        given = {"model": "http://127.0.0.1:1/v1#tiny", "harness": "tools", **fields}
        return plan("mixed", "sums", **given).identities("endpoint", "tiny")

    base = hashes()
    assert base == hashes(model="http://elsewhere:9/v1#tiny", runs_dir=tmp_path / "x", max_connections=2)
    assert base == hashes(max_sandboxes=1, name="n", tags=("t",))
    assert set(base["mixed"]["scaffolds"]) == {"direct", "tools"}
    assert set(base["sums"]["scaffolds"]) == {"direct"}
    assert "base_url" not in str(base)
    assert "127.0.0.1" not in str(base)


def test_what_is_kept_on_the_way_is_no_part_of_what_is_measured() -> None:
    assert identity("box.snapshots=2", in_box=True) == identity(in_box=True)
    assert identity("box.memory_mb=1024", in_box=True) != identity(in_box=True)


def test_no_two_runs_of_a_folder_have_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that had begun within one second drew the same digits, and the second ended at once."""
    drawn = iter(["2f0c", "2f0c", "91aa"])
    monkeypatch.setattr(secrets, "token_hex", lambda size: next(drawn))
    first = new_run_id("quiz", tmp_path)
    (tmp_path / first).mkdir()
    assert first.endswith("-quiz-2f0c") and new_run_id("quiz", tmp_path) != first
