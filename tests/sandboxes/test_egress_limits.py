"""What one box may use of the network, and what becomes of its way out when it ends."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentlab.sandboxes.egress import EgressLimits, sweep
from agentlab.sandboxes.egress.sockets import PREFIX
from agentlab.sandboxes.egress.way import Egress

from .outside_world import GET, HERE, Caller, World, a_caller, a_world

CLOSE = b"Connection: close\r\n\r\n"
BIG = GET.replace(b"org/ ", b"org/big/3000000 ") + CLOSE


async def test_bytes_are_counted_down_and_a_download_stops_at_the_last(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(megabytes=2)) as box:
        answer = await box.say_and_stay(BIG)
        assert 1_000_000 < len(answer) <= 2 << 20
        assert box.told == [("opened", "bytes")] and "2 MB" in box.events[0].message
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 403")
        assert box.told[1:] == [("refused", "bytes")]


async def test_an_upload_is_counted_too(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(megabytes=1)) as box:
        head = GET.replace(b"GET", b"POST") + b"Content-Length: 3000000\r\n" + CLOSE
        assert not (await box.say(head, bytes(3_000_000))).startswith(b"HTTP/1.1 200")
        assert box.told == [("opened", "bytes")] and world.heard == []
        assert box.events[0].sent_bytes <= 1 << 20


async def test_a_tunnel_is_counted_too(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(megabytes=1)) as box:
        reader, writer = await box.tunnel("example.org")
        await writer.start_tls(world.client_context, server_hostname="example.org")
        writer.write(b"GET /big/3000000 HTTP/1.1\r\nHost: example.org\r\n\r\n")
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(3_000_000)
        await box.egress.shut()
        assert box.told == [("opened", "bytes")] and box.events[0].received_bytes <= (1 << 20) + (1 << 17)


async def test_a_grader_finds_what_an_agent_has_used_up_full_again(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(megabytes=1, connections=2)) as box:
        await box.say_and_stay(BIG)
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 403")
        assert await box.say_and_stay(GET, CLOSE) == b""
        box.egress.renew()
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 200")


async def test_a_flood_of_connections_leaves_a_trace_of_bounded_length(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(connections=100)) as box:

        async def knock(_: int) -> bytes:
            try:
                return await box.say_and_stay(b"CONNECT evil.net:443 HTTP/1.1\r\nHost: evil.net\r\n\r\n")
            except OSError:
                return b""

        for _ in range(3):
            await asyncio.gather(*map(knock, range(50)))
        assert len(box.events) == 101
        assert set(box.told[:-1]) <= {("refused", "not_listed"), ("refused", "connections")}
        assert box.told[-1] == ("refused", "connections") and "all 100" in box.events[-1].message
        # And it is taken slowly: the runner has other boxes too.
        started = time.monotonic()
        await asyncio.gather(*map(knock, range(20)))
        assert time.monotonic() - started > 0.5 and len(box.events) == 101


async def test_requests_on_one_connection_are_counted_as_connections_are(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(connections=3)) as box:
        answer = await box.say_and_stay((GET + b"\r\n") * 200)
        assert answer.count(b"HTTP/1.1 200 OK") == 3 == len(world.heard)
        assert await box.say_and_stay(GET, CLOSE) == b""
        assert box.told == [("opened", "")] * 3 + [("refused", "connections")]


async def test_single_bytes_cost_more_than_their_size(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(megabytes=1)) as box:
        head = GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n" + CLOSE
        await box.say(head, b"1\r\nx\r\n" * 20_000)
        assert box.told == [("opened", "bytes")] and box.events[0].sent_bytes < 60_000
        assert world.heard == []


async def test_so_many_at_once_and_no_more(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(at_once=3)) as box:
        held = [await box.tunnel("example.org") for _ in range(3)]
        reader, _ = await box.connect()
        assert await reader.read() == b""
        assert box.told == [("refused", "connections")]
        held[0][1].close()
        await held[0][0].read()
        await box.tunnel("example.org")


async def test_one_box_cannot_take_the_descriptors_of_the_others(world: World) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with a_caller(world) as greedy, a_caller(world) as modest:
        # Room for 16 connections of all boxes together, half of it in reserve: 4 of this one's own.
        resource.setrlimit(resource.RLIMIT_NOFILE, (256 + 32, hard))
        try:
            held = [await greedy.tunnel("example.org") for _ in range(8)]
            reader, _ = await greedy.connect()
            assert await reader.read() == b""
            others = [await modest.tunnel("example.org") for _ in range(4)]
            reader, _ = await modest.connect()
            assert await reader.read() == b""
            assert len(held) == 8 and len(others) == 4
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert greedy.told == modest.told == [("refused", "connections")]


@pytest.mark.parametrize("first", [b"", b"G", GET])
async def test_a_head_that_never_ends_is_waited_for_a_while(world: World, first: bytes) -> None:
    async with a_caller(world, limits=EgressLimits(head_s=0.2)) as box:
        reader, writer = await box.connect()
        writer.write(first)
        drips = asyncio.create_task(drip(writer, 0.05 if first else None))
        started = time.monotonic()
        answer = await reader.read()
        drips.cancel()
        assert time.monotonic() - started < 3
        assert answer.startswith(b"HTTP/1.1 408") if first else answer == b""
        assert box.told == ([("refused", "idle")] if first else [])


async def drip(writer: asyncio.StreamWriter, every: float | None) -> None:
    """A slow client: a byte now and then."""
    while every:
        await asyncio.sleep(every)
        writer.write(b"x")


async def test_a_client_hello_that_never_comes_is_waited_for_a_while(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(head_s=0.2)) as box:
        reader, _ = await box.tunnel("example.org")
        assert (await reader.read())[:1] == b"\x15"
        assert box.told == [("refused", "tls")]


async def test_a_connection_that_falls_silent_is_cut(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(idle_s=0.3)) as box:
        reader, writer = await box.tunnel("example.org")
        await writer.start_tls(world.client_context, server_hostname="example.org")
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert box.told == [("opened", "idle")]


async def test_a_body_that_drips_forever_is_not_silent_but_one_that_stops_is(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(idle_s=0.3)) as box:
        reader, writer = await box.connect()
        writer.write(GET.replace(b"GET", b"POST") + b"Content-Length: 20\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.06)
            writer.write(b"x")
        assert box.told == []
        await reader.read()
        assert box.told == [("opened", "idle")]


async def test_a_box_that_reads_nothing_holds_little_of_ours(world: World) -> None:
    async with a_caller(world, limits=EgressLimits(idle_s=0.5)) as box:
        reader, writer = await box.connect()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(BIG)
        await box.heard.wait()
        assert box.told == [("opened", "idle")] and box.events[0].received_bytes < 1_500_000


async def test_the_end_cuts_what_is_open_tells_it_and_leaves_nothing(world: World) -> None:
    async with a_caller(world) as box:
        _, writer = await box.tunnel("example.org")
        await writer.start_tls(world.client_context, server_hostname="example.org")
        waiting, _ = await box.connect()
        started = time.monotonic()
        await box.egress.close()
        assert time.monotonic() - started < 1
        assert box.told == [("opened", "")]
        assert await waiting.read() == b""
        assert not box.path.exists() and not box.path.parent.parent.exists()
        with pytest.raises(OSError):
            await box.connect()
        await box.egress.close()


async def test_a_shut_way_serves_nobody_until_it_starts_over(world: World) -> None:
    async with a_caller(world) as box:
        await box.say(GET, CLOSE)
        assert await box.say_and_stay(GET, CLOSE) == b""
        assert box.told == [("opened", "")]
        await box.egress.start_over()
        world.names["example.org"] = ["10.0.0.1"]
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 403")
        # Whoever was told before is told no more; the next one hears of it.
        assert len(box.events) == 1
        later: list[object] = []
        box.egress.report_to(later.append)
        assert len(later) == 1


async def test_the_socket_is_nobody_elses_on_this_machine(world: World) -> None:
    async with a_caller(world) as box, a_caller(world) as other:
        private = box.path.parent.parent
        assert private.name.startswith(PREFIX) and other.path.parent.parent != private
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert stat.S_IMODE(box.path.stat().st_mode) == 0o666
        assert [entry.name for entry in box.path.parent.iterdir()] == ["proxy.sock"]


async def test_a_socket_for_another_user_can_be_reached_by_that_user_only(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    egress = Egress("box", ("example.org",), None, world.outside())
    directory = await egress.listen(1_500_000_001)
    assert directory is not None
    codes = []
    for uid in ("1500000001", "1500000002"):
        argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "test", "-w"]
        process = await asyncio.create_subprocess_exec(*argv, str(directory / "proxy.sock"))
        codes.append(await process.wait())
    await egress.close()
    assert codes == [0, 1]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Another place for temporary files, with a name that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="t") as path:
        monkeypatch.setattr("tempfile.tempdir", path)
        yield Path(path)


async def test_where_no_socket_can_lie_the_line_has_to_do(world: World, temporary: Path) -> None:
    deep = temporary / ("d" * 100)
    deep.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(deep))
        egress = Egress("box", ("example.org",), None, world.outside())
        assert await egress.listen() is None
        assert list(deep.iterdir()) == []
    shut = temporary / "shut"
    shut.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(shut))
        assert await egress.listen(1_500_000_001) is None
        assert list(shut.iterdir()) == []


async def test_what_killed_runners_left_is_swept_and_what_lives_is_not(world: World, temporary: Path) -> None:
    dead = temporary / f"{PREFIX}dead" / "box"
    dead.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead / "proxy.sock"))
    linked = temporary / f"{PREFIX}link"
    linked.symlink_to(temporary)
    fresh = temporary / f"{PREFIX}fresh"
    fresh.mkdir()
    other = temporary / "other"
    other.mkdir()
    async with a_caller(world) as box:
        alive = box.path.parent.parent
        for path in (dead.parent, alive, other):
            os.utime(path, (0, 0))
        os.utime(linked, (0, 0), follow_symlinks=False)
        assert await asyncio.to_thread(sweep) == [dead.parent]
        assert alive.exists() and fresh.exists() and other.exists() and temporary.exists()
        assert (await box.say_and_stay(GET, CLOSE)).startswith(b"HTTP/1.1 200")


async def test_connections_leave_no_descriptor_behind(world: World) -> None:
    async with a_caller(world) as box:
        await box.say_and_stay(GET, CLOSE)
        before = len(os.listdir("/proc/self/fd"))
        await asyncio.gather(*(box.say_and_stay(GET, CLOSE) for _ in range(40)))
        reader, writer = await box.tunnel("example.org")
        writer.close()
        await reader.read()
        await box.egress.shut()
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 200


PIECES = [GET, b"\r\n", b"\r\n\r\n", b"CONNECT example.org:443 HTTP/1.1\r\n", b"Host: example.org\r\n", b"\x16\x03\x01"]
PIECES += [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n", b"\0"]
FUZZ = st.lists(st.binary(max_size=60) | st.sampled_from(PIECES), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=FUZZ)
def test_no_bytes_at_all_get_the_proxy_to_fail(parts: list[bytes]) -> None:
    async def say() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        async with a_world() as world, a_caller(world, limits=EgressLimits(head_s=0.5, idle_s=0.5)) as box:
            await fuzz(box, parts)
            assert {event.host for event in box.events if event.verdict == "opened"} <= {"example.org"}
            assert all(event.address in ("", HERE) for event in box.events)
        assert not failures

    asyncio.run(say())


async def fuzz(box: Caller, parts: list[bytes]) -> None:
    reader, writer = await box.connect()
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0)
    writer.write_eof()
    async with asyncio.timeout(10):
        try:
            await reader.read()
        except ConnectionResetError:
            return
