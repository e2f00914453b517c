"""Attacks on boxes, and what came of them: the same list for the tests and for `agentlab sandbox check`.

verdicts = await carry_out(backend, ATTACKS, tell=print)
"""

from __future__ import annotations

from agentlab.sandboxes.attacks.arena import LIMITS, Arena, Verdict, arena, carry_out
from agentlab.sandboxes.attacks.attack import FAMILIES, Attack, Family
from agentlab.sandboxes.attacks.calls import CALLS
from agentlab.sandboxes.attacks.counts import SHARED_COUNTS
from agentlab.sandboxes.attacks.disk import DISK, OUTPUT
from agentlab.sandboxes.attacks.kernel import KERNEL, NAMESPACES, RIGHTS
from agentlab.sandboxes.attacks.leaving import LEFT_BEHIND, WAY_OUT
from agentlab.sandboxes.attacks.network import NETWORK
from agentlab.sandboxes.attacks.processes import CPU, MEMORY, PROCESSES
from agentlab.sandboxes.attacks.spying import GRADING, SPOOFING, SPYING

ATTACKS: tuple[Attack, ...] = (
    *PROCESSES, *MEMORY, *CPU, *DISK, *OUTPUT, *LEFT_BEHIND, *KERNEL, *NAMESPACES, *RIGHTS, *CALLS, *SPYING, *SPOOFING,
    *NETWORK, *WAY_OUT, *GRADING, *SHARED_COUNTS,
)  # fmt: skip

__all__ = ["ATTACKS", "FAMILIES", "LIMITS", "Arena", "Attack", "Family", "Verdict", "arena", "carry_out"]
