"""The measures, in the order in which they are printed."""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from agentlab.sandboxes.bench.abandoned import abandoned_boxes
from agentlab.sandboxes.bench.floors import BareEngine, bare_box, docker, spawn_ms
from agentlab.sandboxes.bench.rows import Row
from agentlab.sandboxes.pool import Pool
from agentlab.sandboxes.protocol import Backend, BoxSpec, Sandbox
from agentlab.sandboxes.room import Room

SOLVE = ("sh", "-c", "echo 42 > answer.txt")
VERIFY = ("sh", "-c", "test $(cat answer.txt) = 42")
FORK_BOMB = ("python3", "-c", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass")
MEGABYTE = bytes(range(256)) * 4096


class Bench:
    """What the measures share: a back-end, the bare engine, and what one measure tells another."""

    def __init__(self, backend: Backend, image: str) -> None:
        self.backend = backend
        self.engine = BareEngine(image)
        self.spec = BoxSpec(image=image)
        self.ahead_rate = 0.0
        """Trials a second with boxes started ahead, which reuse is held against."""
        self.bare_rate = 0.0
        """Bare boxes a second, which trials are held against."""

    async def close(self) -> None:
        await self.engine.close()


Measure: TypeAlias = Callable[[Bench], AsyncIterator[Row]]


async def _ms(work: Awaitable[object]) -> float:
    started = time.perf_counter()
    await work
    return (time.perf_counter() - started) * 1e3


async def _rate(count: int, at_once: int, work: Callable[[int], Awaitable[object]]) -> float:
    """How many a second, `at_once` under way."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return count / (time.perf_counter() - started)


async def one_exec(bench: Bench) -> AsyncIterator[Row]:
    box = await bench.backend.create(bench.spec)
    ours, fork, api = [], [], []
    async with bare_box(bench.engine) as bare:
        for _ in range(10):
            for _ in range(30):
                ours.append(await _ms(box.exec(["true"])))
                fork.append(spawn_ms())
            api += [await _ms(bench.engine.exec(bare, "true")) for _ in range(3)]
    await box.close()
    mine, floor, slow = (statistics.median(figures) for figures in (ours, fork, api))
    yield Row("exec of `true`", f"{mine:.2f} ms", f"fork + exec {floor:.2f} ms", mine / floor, most=6)
    yield Row("exec of `true`", f"{mine:.2f} ms", f"exec API {slow:.1f} ms", slow / mine, "x faster", least=12)


async def many_execs(bench: Bench) -> AsyncIterator[Row]:
    boxes = [await bench.backend.create(bench.spec) for _ in range(8)]
    bare = [await bench.engine.start() for _ in range(8)]
    ours, api = [], []
    for _ in range(3):
        ours.append(await _rate(800, 16, lambda n: boxes[n % 8].exec(["true"])))
        api.append(await _rate(48, 16, lambda n: bench.engine.exec(bare[n % 8], "true")))
    await asyncio.gather(*(box.close() for box in boxes), *(bench.engine.remove(box) for box in bare))
    mine, floor = statistics.median(ours), statistics.median(api)
    yield Row("execs at 16 over 8 boxes", f"{mine:.0f}/s", f"exec API {floor:.1f}/s", mine / floor, least=20)


async def _trial(box: Sandbox) -> None:
    """A trivial task in a box: solve, verify."""
    for argv in (SOLVE, VERIFY):
        result = await box.exec(list(argv))
        if not result.ok:
            raise RuntimeError(f"{argv} ended with {result}")


async def one_trial(bench: Bench) -> AsyncIterator[Row]:
    async def mine() -> None:
        box = await bench.backend.create(bench.spec)
        await _trial(box)
        await box.close()

    async def with_client() -> None:
        name = f"agentlab-bench-{uuid.uuid4().hex[:12]}"
        await docker("run", "-d", "--network", "none", "--name", name, bench.spec.image, "sleep", "600")
        await docker("exec", name, *SOLVE)
        await docker("exec", name, *VERIFY)
        await docker("rm", "-f", name)

    ours, client = [], []
    for _ in range(8):
        ours.append(await _ms(mine()))
        client.append(await _ms(with_client()))
    own, floor = statistics.median(ours), statistics.median(client)
    said = f"docker run, 2 exec, rm {floor:.0f} ms"
    yield Row("a trial, one at a time, no pool", f"{own:.0f} ms", said, own / floor, most=1.0)


async def trials_with_boxes_ahead(bench: Bench) -> AsyncIterator[Row]:
    async def bare(number: int) -> None:
        async with bare_box(bench.engine) as box:
            await bench.engine.exec(box, *SOLVE)

    async def trial(number: int) -> None:
        async with pool.box(bench.spec) as box:
            await _trial(box)

    floors = [await _rate(50, 4, bare)]
    pool = Pool(bench.backend, Room(4))
    begun = time.perf_counter()
    pool.expect(bench.spec, 100)
    await _rate(100, 4, trial)
    # Until the last one is removed: what was started and thrown away for these trials is counted.
    await pool.settled()
    bench.ahead_rate = 100 / (time.perf_counter() - begun)
    await pool.close()
    floors.append(await _rate(50, 4, bare))
    bench.bare_rate = statistics.median(floors)
    said = f"bare create, exec, remove {bench.bare_rate:.2f}/s"
    value = bench.ahead_rate / bench.bare_rate
    yield Row("trials at 4, boxes ahead", f"{bench.ahead_rate:.2f}/s", said, value, least=0.8)


async def trials_with_reuse(bench: Bench) -> AsyncIterator[Row]:
    spec = dataclasses.replace(bench.spec, reuse=True)
    pool = Pool(bench.backend, Room(4), ahead=0)

    async def trial(number: int) -> None:
        async with pool.box(spec) as box:
            await _trial(box)

    await _rate(8, 4, trial)
    rate = statistics.median([await _rate(100, 4, trial) for _ in range(3)])
    await pool.close()
    said = f"boxes ahead {bench.ahead_rate:.2f}/s"
    yield Row("trials at 4, reuse after a reset", f"{rate:.0f}/s", said, rate / bench.ahead_rate, least=10)


async def one_file(bench: Bench) -> AsyncIterator[Row]:
    box = await bench.backend.create(bench.spec)
    ours, api = [], []

    async def mine() -> None:
        await box.write_file("megabyte", MEGABYTE)
        if await box.read_file("megabyte") != MEGABYTE:
            raise RuntimeError("the file came back changed")

    async with bare_box(bench.engine) as bare:

        async def archive() -> None:
            await bench.engine.put(bare, "megabyte", MEGABYTE)
            if await bench.engine.get(bare, "megabyte") != MEGABYTE:
                raise RuntimeError("the file came back changed")

        for _ in range(20):
            ours.append(await _ms(mine()))
            api.append(await _ms(archive()))
    await box.close()
    own, floor = statistics.median(ours), statistics.median(api)
    said = f"archive API {floor:.0f} ms"
    yield Row("1 MB into a box and out", f"{own:.1f} ms", said, floor / own, "x faster", least=8)


async def much_output(bench: Bench) -> AsyncIterator[Row]:
    box = await bench.backend.create(bench.spec)
    seconds, grown = [], []
    for _ in range(3):
        before = _resident_mb(peak=False)
        # Forgets the highest mark of memory in use, so that the next look shows this command's own.
        await asyncio.to_thread(Path("/proc/self/clear_refs").write_text, "5")
        started = time.perf_counter()
        result = await box.exec(["head", "-c", "1000000000", "/dev/zero"], timeout=60)
        seconds.append(time.perf_counter() - started)
        grown.append(_resident_mb(peak=True) - before)
        if result.dropped_bytes + len(result.stdout) != 1_000_000_000:
            raise RuntimeError(f"of 1 GB, {result.dropped_bytes} bytes dropped and {len(result.stdout)} kept")
    await box.close()
    took, memory = statistics.median(seconds), statistics.median(grown)
    yield Row("1 GB of output", f"{took:.2f} s", "", took, "s", most=3)
    yield Row("the runner's memory for it", f"{memory:.1f} MB", "", memory, "MB", most=64)


def _resident_mb(*, peak: bool) -> float:
    name = "VmHWM:" if peak else "VmRSS:"
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


async def time_outs(bench: Bench) -> AsyncIterator[Row]:
    box = await bench.backend.create(bench.spec)
    for what, argv, most in (("a time-out", ["sleep", "60"], 100.0), ("a time-out of a fork bomb", FORK_BOMB, 500.0)):
        over = []
        for _ in range(5):
            took = await _ms(box.exec(list(argv), timeout=1.0))
            over.append(took - 1000)
            await box.quiesce()
        late = statistics.median(over)
        yield Row(f"{what}, too late by", f"{late:.0f} ms", f"worst {max(over):.0f} ms", late, "ms", most=most)
    await box.close()


async def left_behind(bench: Bench) -> AsyncIterator[Row]:
    async with abandoned_boxes(bench.backend.name, 24) as boxes:
        memory = await boxes.memory_mb()
        yield Row("memory of an idle box", f"{memory:.1f} MB", "of 24", memory, "MB", most=16)
        seconds = await boxes.seconds_to_go()
        yield Row("24 boxes of a killed runner gone in", f"{seconds:.2f} s", "", seconds, "s", most=2)


MEASURES: dict[str, Measure] = {
    "exec": one_exec,
    "execs": many_execs,
    "trial": one_trial,
    "ahead": trials_with_boxes_ahead,
    "reuse": trials_with_reuse,
    "file": one_file,
    "output": much_output,
    "timeout": time_outs,
    "abandoned": left_behind,
}
"""By the name that a person picks them by; `reuse` needs `ahead` before it."""
