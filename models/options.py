"""How an endpoint is asked: the settings of a client, as one frozen object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from agentlab.models.presence import Departures
    from agentlab.models.prices import CostMeter, PriceTable


@dataclass(frozen=True, kw_only=True)
class ClientOptions:
    """Settings of a client. None of them is part of a run's identity except `split_thinking` and `send_reasoning`."""

    client: Literal["direct", "openai"] | None = None
    """None: the provider picks (`openai` for `openai/NAME`, else `direct`)."""
    max_connections: int = 64
    """Ceiling of the adaptive concurrency."""
    timeout_s: float = 600.0
    """For one try, from sending to the last byte."""
    connect_timeout_s: float = 10.0
    max_retries: int = 5
    backoff_s: float = 0.5
    """The first wait is a random time up to this, and it doubles."""
    max_retry_after_s: float = 60.0
    """What an endpoint's `Retry-After` is capped at."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    stream: bool = False
    """Ask for a stream: gives the time to the first token, costs CPU for each token."""
    split_thinking: bool = True
    """Move inline `<think>` blocks from the answer to `Message.reasoning`."""
    send_reasoning: bool = False
    """Send earlier thinking back to the model as `reasoning_content`."""
    purpose: Literal["agent", "judge"] = "agent"
    """What the calls are for, kept in each `ModelCall`."""
    cache: Path | None = None
    """File of the response cache; None: off."""
    cache_identity: str = ""
    """What names the model in the cache. Empty: address and name, so that another server never answers for this one."""
    prices: PriceTable | None = None
    cost: CostMeter | None = None
    """Shared by all clients of a run, so that one ceiling holds for all."""
    departures: Departures | None = None
    """Shared by all clients of a run: where one tells that its endpoint is gone."""
    api_key_env: str = ""
    """Variable that holds the key. Empty: `OPENAI_API_KEY`, and no key where that is not set."""
    headers: Mapping[str, str] = field(default_factory=dict)


DEFAULT_OPTIONS = ClientOptions()
