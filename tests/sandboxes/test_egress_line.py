"""A box's connections over its agent's line, and an agent that keeps no rule on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from agentlab.sandboxes import SandboxError
from agentlab.sandboxes.agent import wire
from agentlab.sandboxes.agent.relay import MAX_CONNECTIONS, WINDOW
from agentlab.sandboxes.connection import AgentConnection
from agentlab.sandboxes.egress import EgressLimits
from agentlab.sandboxes.egress.way import Egress
from agentlab.traces.events import NetworkAccess

from .outside_world import World, a_world


class Agent:
    """An agent's end of a line, played by the test: what it hears, and what it says when the test likes."""

    def __init__(self) -> None:
        self._says: asyncio.Queue[bytes] = asyncio.Queue()
        self._frames = wire.Frames()
        self.heard: list[tuple[dict[str, object], bytes]] = []
        self._hears = asyncio.Event()

    async def receive(self) -> bytes:
        return await self._says.get()

    async def send(self, data: bytes) -> None:
        for header, payload in self._frames.feed(data):
            self.heard.append((json.loads(header), payload))
            self._hears.set()

    async def close(self) -> None:
        self._says.put_nowait(b"")

    def last_words(self) -> str:
        return ""

    def say(self, what: str, payload: bytes = b"", *, number: int = 1, room: int = 0, to: int = 2) -> None:
        header = {"id": to, "t": "net", "code": number, "kind": what, "split": room}
        self._says.put_nowait(wire.encode(header, payload))

    def answer_hello(self) -> None:
        self._says.put_nowait(wire.encode({"id": 1, "t": "ok", "value": {"egress": "line"}}))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._hears.clear()
                await self._hears.wait()

    def bytes_for(self, number: int) -> bytes:
        return b"".join(data for header, data in self.heard if header.get("number") == number)

    def said(self, what: str) -> list[object]:
        return [header["number"] for header, _ in self.heard if header.get("what") == what]


class Box:
    """A box of which only the line is there."""

    def __init__(self, world: World, limits: EgressLimits | None = None) -> None:
        self.agent = Agent()
        self.connection = AgentConnection(self.agent, "box-1")
        self.egress = Egress("box-1", ("example.org",), limits, world.outside(by_socket=False))
        self.events: list[NetworkAccess] = []
        self.egress.report_to(self.events.append)

    async def __aenter__(self) -> Box:
        assert await self.egress.listen() is None
        self.agent.answer_hello()
        await self.egress.follow(await self.connection.ask("hello"), self.connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.egress.close()
        await self.connection.close()


GET = b"GET http://example.org/big/200000 HTTP/1.1\r\nHost: example.org\r\n\r\n"


async def test_what_is_not_taken_is_not_sent() -> None:
    async with a_world() as world, Box(world) as box:
        agent = box.agent
        agent.say("open")
        agent.say("data", GET)
        await agent.until(lambda: len(agent.bytes_for(1)) == WINDOW)
        agent.say("open", number=2)
        agent.say("data", b"GET http://evil.net/ HTTP/1.1\r\nHost: evil.net\r\n\r\n", number=2)
        await agent.until(lambda: b"403" in agent.bytes_for(2))
        assert len(agent.bytes_for(1)) == WINDOW
        agent.say("room", room=1000)
        await agent.until(lambda: len(agent.bytes_for(1)) == WINDOW + 1000)
        agent.say("gone")
        agent.say("gone", number=2)
        assert agent.said("gone") == []
    assert [(event.host, event.verdict) for event in box.events] == [("evil.net", "refused"), ("example.org", "opened")]


async def test_room_that_was_not_taken_is_not_believed() -> None:
    async with a_world() as world, Box(world) as box:
        agent = box.agent
        agent.say("open")
        agent.say("room", room=1 << 30)
        agent.say("data", GET)
        await agent.until(lambda: len(agent.bytes_for(1)) == WINDOW)
        agent.say("open", number=2)
        agent.say("data", b"nonsense\r\n\r\n", number=2)
        await agent.until(lambda: b"400" in agent.bytes_for(2))
        assert len(agent.bytes_for(1)) == WINDOW


async def test_both_ends_may_end_first() -> None:
    async with a_world() as world, Box(world) as box:
        agent = box.agent
        agent.say("open")
        agent.say("data", b"GET http://example.org/ HTTP/1.0\r\n\r\n")
        agent.say("end")
        await agent.until(lambda: agent.said("gone") == [1])
        assert b"200 OK" in agent.bytes_for(1)
        agent.say("data", b"more", number=1)
        agent.say("gone", number=1)
        agent.say("room", number=99, room=5)
        agent.say("open", number=2)
        agent.say("gone", number=2)
        agent.say("open", number=3)
        agent.say("data", b"GET http://example.org/ HTTP/1.0\r\n\r\n", number=3)
        await agent.until(lambda: 3 in agent.said("gone"))
        assert box.connection.alive and 2 not in agent.said("gone")


def too_much(agent: Agent) -> None:
    agent.say("open")
    for _ in range(WINDOW // 1024 + 1):
        agent.say("data", b"GET " + bytes(1020))


def too_many(agent: Agent) -> None:
    for number in range(2 * MAX_CONNECTIONS + 1):
        agent.say("open", number=number)


def twice(agent: Agent) -> None:
    agent.say("open")
    agent.say("open")


def nonsense(agent: Agent) -> None:
    agent.say("open", to="me")  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [too_much, too_many, twice, nonsense])
async def test_an_agent_that_keeps_no_rule_loses_its_box(rule: Callable[[Agent], None]) -> None:
    async with a_world() as world, Box(world, EgressLimits(head_bytes=1 << 20)) as box:
        asking = asyncio.create_task(box.connection.ask("ping"))
        rule(box.agent)
        with pytest.raises(SandboxError) as raised:
            await asking
        assert raised.value.kind == "protocol"
        assert not box.connection.alive and world.connections == 0


async def test_a_line_that_breaks_ends_its_connections() -> None:
    async with a_world() as world, Box(world) as box:
        box.agent.say("open")
        box.agent.say("data", GET)
        await box.agent.until(lambda: len(box.agent.bytes_for(1)) == WINDOW)
        await box.agent.close()
        with pytest.raises(SandboxError):
            await box.connection.ask("ping")
        await box.egress.shut()
        assert [(event.host, event.verdict) for event in box.events] == [("example.org", "opened")]


async def test_an_agent_that_opened_no_way_is_no_box() -> None:
    async with a_world() as world:
        box = Box(world)
        box.agent._says.put_nowait(wire.encode({"id": 1, "t": "ok", "value": {}}))
        hello = await box.connection.ask("hello")
        with pytest.raises(SandboxError, match="opened no way out") as raised:
            await box.egress.follow(hello, box.connection)
        assert raised.value.kind == "start"
        await box.connection.close()
