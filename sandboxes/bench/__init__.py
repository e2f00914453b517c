"""What boxes cost: every figure beside a floor that is measured in the same run, as machines differ and are busy."""

from __future__ import annotations

from agentlab.sandboxes.bench.measures import MEASURES, Bench
from agentlab.sandboxes.bench.rows import Row

__all__ = ["MEASURES", "Bench", "Row"]
