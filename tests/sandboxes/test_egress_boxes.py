"""Real boxes with a network: ordinary clients reach the hosts of the list, and nothing else is reached by anything.

Each back-end is tried with a mounted socket and with its agent's line, where it has both ways.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from back_ends import SMALL, usable

from agentlab.sandboxes import Backend, BackendName, Limits, Sandbox, SandboxError, User, open_backend
from agentlab.traces.events import NetworkAccess

from .outside_world import World

OPEN = replace(SMALL, network=("example.org", "*.example.org"))
WAYS: list[tuple[BackendName, bool]] = [
    ("docker", True),
    ("docker", False),
    ("bubblewrap", True),
    ("bubblewrap", False),
    ("modal", False),
]

FETCH = """
import hashlib, sys, urllib.request
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            digest, size = hashlib.sha256(), 0
            while data := answer.read(1 << 16):
                digest.update(data); size += len(data)
            print(answer.status, size, digest.hexdigest(), flush=True)
    except OSError as error:
        print("failed", getattr(error, "reason", error), flush=True)
"""


@dataclass
class Network:
    """A back-end whose boxes reach the test's world."""

    backend: Backend
    world: World
    by_socket: bool

    async def box(self, **changes: object) -> tuple[Sandbox, list[NetworkAccess]]:
        box = await self.backend.create(replace(OPEN, **changes))  # type: ignore[arg-type]
        events: list[NetworkAccess] = []
        box.report_network(events.append)
        await box.write_file("/tmp/ca.pem", self.world.ca.cert_pem.bytes())
        return box, events


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}-{'socket' if way[1] else 'line'}")
async def network(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Network]:
    name, by_socket = request.param
    if name == "modal":
        request.getfixturevalue("modal_account")
    await (await usable(name)).close()
    backend = open_backend(name, run_id="tests", outside=world.outside(by_socket=by_socket))
    await backend.ensure_image(SMALL.image, print)
    yield Network(backend, world, by_socket)
    await backend.close()


async def fetch(box: Sandbox, *urls: str, user: User = "task") -> list[str]:
    env = {"SSL_CERT_FILE": "/tmp/ca.pem"}
    result = await box.exec(["python3", "-c", FETCH, *urls], env=env, user=user, cwd="/", timeout=90)
    assert result.ok, result
    return result.stdout.decode().splitlines()


def told(events: list[NetworkAccess]) -> list[tuple[str, int, str, str]]:
    return [(event.host, event.port, event.verdict, event.reason) for event in events]


async def test_ordinary_clients_reach_the_list_and_nothing_else(network: Network) -> None:
    box, events = await network.box()
    urls = ("https://www.example.org/a", "http://example.org/b", "https://example.net/", "http://10.0.0.1/")
    first, second, third, fourth = await fetch(box, *urls)
    assert first.startswith("200 ") and second.startswith("200 ")
    assert "example.net:443 is not on the list of hosts that this task opens" in third
    assert fourth.startswith("failed")
    await box.shut_network()
    # A connection is told once it has ended: which of them ends first is not said.
    assert sorted(told(events)) == sorted(
        [
            ("www.example.org", 443, "opened", ""),
            ("example.org", 80, "opened", ""),
            ("example.net", 443, "refused", "not_listed"),
            ("10.0.0.1", 0, "refused", "not_listed"),
        ]
    )
    assert {event.box for event in events} == {box.id}
    assert network.world.handshakes == ["www.example.org"]
    assert "network" in box.capabilities


async def test_a_shell_and_a_grader_have_the_way_too(network: Network) -> None:
    box, events = await network.box()
    shell = await box.open_shell()
    command = "python3 -c \"import urllib.request as u; print(u.urlopen('http://example.org/').status)\""
    assert (await shell.run(command, timeout=60)).stdout == b"200\n"
    assert (await fetch(box, "http://www.example.org/", user="grader"))[0].startswith("200 ")
    await box.shut_network()
    assert [event.host for event in events] == ["example.org", "www.example.org"]


REACH_OUT = """
import socket
for family, host in ((2, "172.17.0.1"), (2, "169.254.169.254"), (2, "1.1.1.1"), (10, "2606:4700::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(family, kind)
        s.settimeout(1)
        try:
            s.connect((host, 80))
            print("reached", host)
        except OSError:
            pass
try:
    print("resolved", socket.getaddrinfo("example.org", 80))
except OSError:
    pass
print(sorted(name for _, name in socket.if_nameindex()))
"""


async def test_beside_the_way_there_is_no_network(network: Network) -> None:
    box, events = await network.box()
    result = await box.exec(["python3", "-c", REACH_OUT], env={"http_proxy": ""}, timeout=60)
    assert result.stdout in (b"['lo']\n", b"[]\n"), result
    assert events == []


BIND = "python3 -c \"import socket; s = socket.socket(); s.setsockopt(1, {}, 1); s.bind(('{}', 3128)); s.listen()\""
PLACE = "/run/agentlab-egress"
TAMPERING = {
    "remove the socket": f"test -e {PLACE}/proxy.sock && rm -f {PLACE}/proxy.sock",
    "move the socket": f"mv {PLACE}/proxy.sock /tmp/x",
    "put one beside it": f"touch {PLACE}/x || ln -s / {PLACE}/x",
    "change its mode": f"chmod 0 {PLACE}/proxy.sock || chmod 0 {PLACE}",
    "write to it as a file": f"echo x > {PLACE}/proxy.sock",
    "see others from it": f"ls {PLACE}/../agentlab-egress-* {PLACE}/../box/.. 2>/dev/null | grep sock",
    "replace the directory": f"mv {PLACE} /run/other || rmdir {PLACE} || (test -e {PLACE} && rm -rf {PLACE})",
    "take the port": BIND.format(2, "127.0.0.1") + "||" + BIND.format(15, "127.0.0.1"),
    "take the port of all addresses": BIND.format(2, "0.0.0.0") + "||" + BIND.format(15, "0.0.0.0"),
}


async def test_what_runs_in_a_box_cannot_tamper_with_its_way(network: Network) -> None:
    box, _ = await network.box()
    users: tuple[User, ...] = ("task", "grader")
    for user in users:
        for what, attempt in TAMPERING.items():
            result = await box.exec(["sh", "-c", attempt], user=user, cwd="/")
            assert not result.ok, (what, user, result)
        assert (await fetch(box, "http://example.org/", user=user))[0].startswith("200 ")


async def test_a_socket_leads_to_the_proxy_of_its_own_box(network: Network) -> None:
    """One box's list is not another's, though both are boxes of one runner."""
    box, events = await network.box()
    if not network.by_socket:
        assert not (await box.exec(["ls", "/run/agentlab-egress"], cwd="/")).ok
        return
    other, others = await network.box(network=("example.net",))
    direct = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/agentlab-egress/proxy.sock'); "
        "s.sendall(b'GET http://example.net/ HTTP/1.0\\r\\n\\r\\n'); print(s.recv(12))"
    )
    for user in ("task", "grader"):
        assert (await box.exec(["python3", "-c", direct], user=user, cwd="/")).stdout == b"b'HTTP/1.1 403'\n"  # type: ignore[arg-type]
        assert (await other.exec(["python3", "-c", direct], user=user, cwd="/")).stdout == b"b'HTTP/1.1 200'\n"  # type: ignore[arg-type]
    await asyncio.gather(box.shut_network(), other.shut_network())
    assert {event.verdict for event in events} == {"refused"} and {event.verdict for event in others} == {"opened"}


async def test_a_box_without_a_list_has_no_way(network: Network) -> None:
    box = await network.backend.create(SMALL)
    connect = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 3128))'"
    probe = f"env | grep -i -E '^(http|https|all|no)_proxy' || ls /run/agentlab-egress || {connect}"
    assert not (await box.exec(["sh", "-c", probe])).ok
    await box.shut_network()


async def test_large_files_come_whole_and_many_at_once(network: Network) -> None:
    box, events = await network.box()
    size = 8_000_000
    (line,) = await fetch(box, f"https://www.example.org/big/{size}")
    assert line == f"200 {size} {hashlib.sha256(bytes(size)).hexdigest()}"
    urls = [f"http://example.org/big/{200_000 + number}" for number in range(6)]
    found = await asyncio.gather(*(fetch(box, *urls) for _ in range(6)))
    assert [line.split()[1] for lines in found for line in lines] == [str(200_000 + n) for n in range(6)] * 6
    await box.shut_network()
    assert len(events) == 37 and {event.reason for event in events} == {""}
    assert sum(event.received_bytes for event in events) > size + 36 * 200_000


FLOOD = """
import socket, sys
held = []
for number in range(int(sys.argv[1])):
    s = socket.socket(); s.setblocking(False)
    try: s.connect(("127.0.0.1", 3128))
    except BlockingIOError: pass
    held.append(s)
    if len(held) > 300: held.pop(0).close()
print("done", flush=True)
import time; time.sleep(float(sys.argv[2]))
"""


async def test_a_flood_of_connections_costs_the_box_no_more_than_its_network(network: Network) -> None:
    box, events = await network.box()
    async with box.stream(["python3", "-c", FLOOD, "3000", "30"], timeout=60) as flood:
        assert await anext(aiter(flood)) == ("stdout", b"done\n")
        assert (await box.exec(["echo", "alive"], timeout=10)).stdout == b"alive\n"
        assert len(network.world.heard) == 0
    # What held the connections is dead: the way is free again.
    assert (await fetch(box, "http://example.org/"))[0].startswith("200 ")
    await box.shut_network()
    assert told(events) == [("example.org", 80, "opened", "")]


async def test_a_client_that_is_killed_ends_its_connection(network: Network) -> None:
    box, events = await network.box()
    heard = asyncio.Event()

    def hear(event: NetworkAccess) -> None:
        events.append(event)
        heard.set()

    box.report_network(hear)
    slow = (
        "import socket; s = socket.create_connection(('127.0.0.1', 3128)); "
        "s.sendall(b'GET http://example.org/big/50000000 HTTP/1.1\\r\\nHost: example.org\\r\\n\\r\\n'); "
        "print(len(s.recv(10)), flush=True); import time; time.sleep(60)"
    )
    async with box.stream(["python3", "-c", slow]) as stream:
        assert await anext(aiter(stream)) == ("stdout", b"10\n")
    async with asyncio.timeout(10):
        await heard.wait()
    assert told(events) == [("example.org", 80, "opened", "")]
    assert events[0].received_bytes < 50_000_000


async def test_quiescing_gives_the_grader_a_network_of_its_own(network: Network) -> None:
    limits = replace(SMALL.limits, network_mb=1)
    box, events = await network.box(limits=limits)
    assert (await fetch(box, "http://example.org/big/3000000"))[0] != "200 3000000"
    assert (await fetch(box, "http://example.org/"))[0].startswith("failed")
    await box.quiesce()
    assert (await fetch(box, "http://example.org/", user="grader"))[0].startswith("200 ")
    await box.shut_network()
    assert [event.reason for event in events] == ["bytes", "bytes", ""]


async def test_a_reset_box_is_as_new(network: Network) -> None:
    box, first = await network.box()
    holding = "import socket,time; s = socket.create_connection(('127.0.0.1', 3128)); open('up', 'w'); time.sleep(60)"
    until_up = "until [ -e up ]; do :; done"
    await box.exec(["sh", "-c", f'setsid python3 -c "{holding}" >/dev/null 2>&1 & {until_up}'])
    assert (await fetch(box, "http://example.org/"))[0].startswith("200 ")
    await box.shut_network()
    assert (await fetch(box, "http://example.org/"))[0].startswith("failed")
    if not await box.reset():
        assert box.backend == "modal"
        return
    second: list[NetworkAccess] = []
    box.report_network(second.append)
    await box.write_file("/tmp/ca.pem", network.world.ca.cert_pem.bytes())
    assert (await fetch(box, "https://example.org/"))[0].startswith("200 ")
    await box.shut_network()
    assert told(first) == [("example.org", 80, "opened", "")] and told(second) == [("example.org", 443, "opened", "")]


async def test_closing_a_box_closes_its_way(network: Network) -> None:
    box, events = await network.box()
    held = (
        "import socket,time; s = socket.create_connection(('127.0.0.1', 3128)); "
        "s.sendall(b'CONNECT example.org:443 HTTP/1.1\\r\\nHost: example.org\\r\\n\\r\\n'); "
        "print(s.recv(12), flush=True); time.sleep(60)"
    )
    async with box.stream(["python3", "-c", held]) as stream:
        assert await anext(aiter(stream)) == ("stdout", b"b'HTTP/1.1 200'\n")
        await box.close()
        assert told(events) == [("example.org", 443, "opened", "")]


async def test_a_list_that_makes_no_sense_makes_no_box(network: Network) -> None:
    with pytest.raises(SandboxError, match=r"network: '10\.0\.0\.1' is an address") as raised:
        await network.backend.create(replace(SMALL, network=("10.0.0.1",)))
    assert raised.value.kind == "unsupported"


def test_limits_say_how_much_a_box_may_move() -> None:
    assert Limits().network_mb == 1024
