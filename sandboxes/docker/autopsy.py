"""Why a box's first process ended, as its engine tells it."""

from __future__ import annotations

import json
import time

from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.protocol import Limits, SandboxError, out_of_memory

HISTORY_S = 3600
PATIENCE_S = 2.0
"""How long the event of the end may come after the end of the stream; it came within 20 ms wherever it was measured."""


async def autopsy(engine: Engine, container: str, name: str, limits: Limits) -> SandboxError | None:
    """`oom` where the kernel's killer for memory took the box, None where that is not known.

    The engine removes an ended box at once, so its record cannot be asked; its events of the last seconds can. A box
    that somebody killed is not one that ran out of memory, whatever was killed in it before.
    """
    now = time.time()
    query = {
        "since": f"{now - HISTORY_S:.0f}",
        "until": f"{now + PATIENCE_S:.0f}",
        "filters": json.dumps({"container": [container], "event": ["oom", "kill", "die"]}),
    }
    seen = set()
    code = ""
    try:
        async with engine.progress("/events", query, quiet_s=PATIENCE_S, method="GET") as events:
            async for event in events:
                seen.add(event.get("Action"))
                if event.get("Action") == "die":
                    code = str(event["Actor"]["Attributes"].get("exitCode"))
                    break
    except (EngineError, SandboxError):
        return None
    if code == "137" and "oom" in seen and "kill" not in seen:
        return out_of_memory(name, limits)
    return None
