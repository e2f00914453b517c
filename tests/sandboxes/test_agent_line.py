"""The line between runner and agent: frames, and an agent that lies, babbles or says nothing."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentlab.sandboxes import SandboxError, agent
from agentlab.sandboxes.agent import wire
from agentlab.sandboxes.connection import AgentConnection

HEADERS = st.dictionaries(st.text(max_size=8), st.text(max_size=20) | st.integers(), max_size=4)


@settings(max_examples=60)
@given(frames=st.lists(st.tuples(HEADERS, st.binary(max_size=300)), max_size=6), cuts=st.lists(st.integers(1, 50)))
def test_frames_survive_any_cutting(frames: list[tuple[dict[str, object], bytes]], cuts: list[int]) -> None:
    stream = b"".join(wire.encode(header, payload) for header, payload in frames)
    cutter = wire.Frames()
    heard = []
    while stream:
        size = cuts.pop() if cuts else len(stream)
        heard += [(json.loads(header), payload) for header, payload in cutter.feed(stream[:size])]
        stream = stream[size:]
    assert heard == frames


@pytest.mark.parametrize("sizes", [(wire.MAX_HEADER + 1, 0), (2, wire.MAX_PAYLOAD + 1), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_frame_beyond_its_bound_is_refused_before_it_is_read(sizes: tuple[int, int]) -> None:
    with pytest.raises(wire.FrameError):
        list(wire.Frames().feed(wire.PREFIX.pack(*sizes)))
    with pytest.raises(wire.FrameError):
        wire.encode({}, bytes(wire.MAX_PAYLOAD + 1))


@pytest.mark.parametrize("name", [*agent.MODULES, "relay"])
def test_the_agent_is_python_3_8_and_brings_all_it_needs(name: str) -> None:
    text = resources.files("agentlab.sandboxes.agent").joinpath(f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    imported = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert "from __future__ import annotations" in text
    ours = [module for module in imported if module.startswith("agentlab")]
    assert all(module.startswith("agentlab.sandboxes.agent") for module in ours)


@pytest.mark.parametrize("same_python", [True, False])
async def test_the_agent_starts_compiled_or_as_text_but_never_outside_a_box(same_python: bool) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *agent.PYTHON_FLAGS, stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate(agent.bundle() if same_python else bytes(4) + agent.bundle()[4:])
    # It got as far as its own start, and stopped there: it would kill every process that it can see.
    assert said.strip().endswith(b"RuntimeError: the agent must be the first process of a box")


class Peer:
    """An agent's end of a line, played by the test."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self._asked = asyncio.Event()

    async def receive(self) -> bytes:
        await self._asked.wait()
        if self._answers:
            return self._answers.pop(0)
        await asyncio.Event().wait()
        return b""

    async def send(self, data: bytes) -> None:
        self._asked.set()

    async def close(self) -> None:
        self._asked.set()

    def last_words(self) -> str:
        return "I was killed"


def said(**header: object) -> bytes:
    return wire.encode(header)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
        (wire.PREFIX.pack(3, 0) + b"nul", "protocol"),
        (said(id="one", t="end"), "protocol"),
        (said(id=1, t="surprise"), "protocol"),
        (said(id=1, t="end", code="zero"), "protocol"),
        (wire.PREFIX.pack(60_000, 0) + b"[" * 60_000, "protocol"),
        (said(id=1, t="fail", kind="KeyError", message="oops"), "protocol"),
        (b"", "lost"),
        (said(id=7, t="end"), "timeout"),
    ],
)
async def test_what_makes_no_sense_ends_the_box(answer: bytes, kind: str) -> None:
    connection = AgentConnection(Peer(answer), "box-1")
    with pytest.raises(SandboxError) as raised:
        await connection.ask("ping", patience_s=0.2)
    assert raised.value.kind == kind
    assert "box-1" in str(raised.value)
    if kind != "protocol" or b"fail" not in answer:
        assert not connection.alive
        with pytest.raises(SandboxError):
            await connection.ask("ping", patience_s=0.2)
    await connection.close()


async def test_the_last_words_of_a_lost_agent_are_told() -> None:
    connection = AgentConnection(Peer(b""), "box-1")
    with pytest.raises(SandboxError, match="I was killed"):
        await connection.ask("ping")
    await connection.close()
