"""A runner in a process of its own that is killed while it holds boxes: what they weigh, and how soon they are gone."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agentlab.sandboxes import ownership
from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine

OWNER = """
import asyncio, sys
from agentlab.sandboxes import BoxSpec, open_backend
async def main():
    backend, count = open_backend(sys.argv[1]), iter(range(int(sys.argv[2])))
    async def some():
        for _ in count:
            await (await backend.create(BoxSpec())).exec(["true"])
    await asyncio.gather(*(some() for _ in range(4)))
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Abandoned:
    """Docker boxes of another process."""

    def __init__(self, engine: Engine, owner: asyncio.subprocess.Process) -> None:
        self._engine = engine
        self._owner = owner

    async def _list(self) -> list[str]:
        filters = json.dumps({"label": [f"{ownership.PID_LABEL}={self._owner.pid}"]})
        found = await self._engine.call("GET", "/containers/json", all="1", filters=filters)
        return [box["Id"] for box in found or []]

    async def memory_mb(self) -> float:
        """Of one box, the median: what its control group holds, and the process that stands beside it."""
        figures = []
        for box in await self._list():
            stats = await self._engine.call("GET", f"/containers/{box}/stats", stream="0")
            about = await self._engine.call("GET", f"/containers/{box}/json")
            figures.append(int(stats["memory_stats"]["usage"]) / (1 << 20) + _shim_mb(about["State"]["Pid"]))
        return statistics.median(figures)

    async def seconds_to_go(self) -> float:
        """Kill the owner; seconds until the engine has removed the last of its boxes."""
        wait = [self._engine.call("POST", f"/containers/{box}/wait", condition="removed") for box in await self._list()]
        waiting = asyncio.gather(*wait)
        # One look round, so that every question has been asked when the answer begins to change.
        await self._list()
        killed = time.perf_counter()
        self._owner.kill()
        await waiting
        seconds = time.perf_counter() - killed
        if left := await self._list():
            raise RuntimeError(f"{len(left)} boxes were left")
        return seconds


def _shim_mb(agent: int) -> float:
    """Proportional memory of the parent of a box's first process; 0 where the engine is elsewhere."""
    try:
        parent = Path(f"/proc/{agent}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
        lines = Path(f"/proc/{parent}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@asynccontextmanager
async def abandoned_boxes(backend: str, count: int) -> AsyncIterator[Abandoned]:
    """That many boxes, held by a process that ends with the context at the latest."""
    engine = Engine(current())
    pipe = asyncio.subprocess.PIPE
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, backend, str(count), stdout=pipe)
    try:
        if owner.stdout is None or await owner.stdout.readline() != b"ready\n":
            raise RuntimeError("the boxes did not start")
        yield Abandoned(engine, owner)
    finally:
        if owner.returncode is None:
            owner.kill()
        await owner.wait()
        await engine.close()
