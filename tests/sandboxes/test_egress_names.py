"""Which hosts and which addresses a box may reach: lists, names, and the default policy."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentlab.sandboxes.egress import Outside, allow_list, refuses
from agentlab.sandboxes.egress.hosts import authority, host_name


@pytest.mark.parametrize(
    ("entry", "host", "port", "open_"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "example.org", 80, True),
        ("Example.ORG.", "example.org", 80, True),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "example.org.evil.net", 443, False),
        ("example.org", "notexample.org", 443, False),
        ("example.org:443", "example.org", 443, True),
        ("example.org:443", "example.org", 80, False),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "evil-example.org", 443, False),
        ("*.example.org:80", "a.example.org", 443, False),
        ("bücher.example", "xn--bcher-kva.example", 443, True),
        ("*", "anything.example", 443, True),
        ("*", "anything.example", 22, False),
        ("example.org", "example.org", 8080, False),
    ],
)
def test_a_list_opens_what_it_names(entry: str, host: str, port: int, open_: bool) -> None:
    assert allow_list([entry]).allows(host, port) is open_


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("10.0.0.1", "is an address"),
        ("[::1]:443", "is an address"),
        ("0x7f.1", "is an address"),
        ("localhost", "single word"),
        ("*.com", "whole top-level domain"),
        ("example.org:22", "only the ports 80 and 443"),
        ("https://example.org", "not a host"),
        ("example.org/path", "not a host"),
        ("user@example.org", "not a host"),
        ("exa mple.org", "not a host"),
        ("*example.org", "not the name of a host"),
        ("a.*.example.org", "not the name of a host"),
        ("", "not a host"),
        ("bü\udcffcher.example", "not the name of a host"),
    ],
)
def test_an_entry_that_makes_no_sense_is_told(entry: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        allow_list([entry])
    assert str(raised.value).startswith("network: ")


def test_one_host_alone_is_not_a_list() -> None:
    with pytest.raises(ValueError, match="several hosts"):
        allow_list("example.org")


ADDRESSES_AS_NAMES = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "example.org.127.0.0.1",
    "1.2.3.4.",
    "::1",
    "fe80::1%25eth0",
    "a.0x",
    "169.254.169.254",
    "\u0031\u0032\u0037.\uff10.0.1",
    "example\u3002org",
    "\u212aernel.org",
    "example.org\x00.evil.net",
    "example.org\r\nHost: evil",
    "..",
    "a..b",
    ".example.org",
    "-a.example.org",
    "a" * 64 + ".org",
    "localhost",
    "metadata",
]


@pytest.mark.parametrize("text", ADDRESSES_AS_NAMES)
def test_no_address_and_no_trick_is_a_name(text: str) -> None:
    with pytest.raises(ValueError):
        host_name(text)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "0x{:x}", "0{:o}"]))
def test_a_number_is_never_a_name(number: int, form: str) -> None:
    dotted = str(ipaddress.IPv4Address(number))
    for text in (form.format(number), dotted, f"x.{form.format(number)}"):
        with pytest.raises(ValueError):
            authority(text)


@given(st.text(max_size=40))
@example("a.b:99999")
def test_what_is_taken_for_an_authority_is_one_host(text: str) -> None:
    try:
        host, _ = authority(text)
    except ValueError:
        return
    assert host == host_name(host) and not set(host) & set(" /\\@:#?[]%\r\n\x00") and host.isascii()


INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2600::1%1",
    "fec0::1",
    "ff02::1",
    "not an address",
    "",
    "127.1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert refuses(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00::1"])
def test_what_is_public_is_not(address: str) -> None:
    assert refuses(address) == ""


async def test_the_strict_policy_and_the_systems_resolver_are_the_default() -> None:
    assert Outside().refuses is refuses and Outside().by_socket
    with pytest.raises(OSError):
        await Outside().resolve("nowhere.invalid", 443)


@given(st.ip_addresses())
def test_the_policy_is_never_wider_than_the_standard_library(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not refuses(str(address)):
        assert not (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast)
        assert not (address.is_reserved or address.is_unspecified)


def test_an_address_of_this_machine_is_refused_also_where_it_is_a_public_one() -> None:
    """Whatever the address of the machine's own interface, nothing that listens on it can be reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 53))
        except OSError:
            pytest.skip("this machine has no way to the internet")
        assert refuses(probe.getsockname()[0])
