"""Which hosts a box may reach: a task's list, and what counts as the name of a host."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PORTS = (80, 443)
"""HTTP and HTTPS: the two protocols whose inside the proxy can hold against the name that was asked for."""

EVERYWHERE = "*"
"""The rule that opens every public host; a person has to permit it, a task alone cannot."""

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY = re.compile(r"([^\s:\[\]@/?#\\]+)(?::([0-9]{1,5}))?")


def host_name(text: str) -> str:
    """The one spelling of a host's name: lower case, no dot at the end.

    Raises ValueError for anything else: addresses in every notation that a resolver might read (127.1, 0x7f000001,
    [::1]), single words, which a search domain would complete, and letters beyond ASCII.
    """
    name = text.lower().removesuffix(".") if text.isascii() else ""
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text[:100]!r} is not the name of a host")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{text[:100]!r} is an address; only names of hosts can be reached")
    if len(labels) < 2:
        raise ValueError(f"{text[:100]!r} is a single word; write the whole name of the host")
    return name


def authority(text: str) -> tuple[str, int | None]:
    """Host and port of `host` or `host:port`. Raises ValueError."""
    if text.startswith("["):
        raise ValueError(f"{text[:100]!r} is an address; only names of hosts can be reached")
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:100]!r} is not a host, or host:port")
    return host_name(match[1]), int(match[2]) if match[2] else None


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a list."""

    host: str
    """Empty: every host."""
    port: int | None = None
    """None: both ports."""
    below: bool = False
    """The hosts under this one (`*.`), and not it itself."""

    def allows(self, host: str, port: int) -> bool:
        if self.port is not None and port != self.port:
            return False
        if self.below:
            return host.endswith(f".{self.host}")
        return not self.host or host == self.host


@dataclass(frozen=True, slots=True)
class AllowList:
    """What a box may reach."""

    rules: tuple[Rule, ...]

    @property
    def everywhere(self) -> bool:
        """Whether every public host is open."""
        return any(not rule.host for rule in self.rules)

    def allows(self, host: str, port: int) -> bool:
        """Whether this list opens `host`, spelt as by `host_name`, at `port`."""
        return port in PORTS and any(rule.allows(host, port) for rule in self.rules)


def allow_list(network: Sequence[str]) -> AllowList:
    """A task's list: `host`, `host:port`, `*.host` (all hosts under it) or `*` (all public hosts).

    >>> allow_list(["pypi.org", "*.debian.org:80"]).allows("deb.debian.org", 80)
    True

    Raises ValueError with what is wrong with which entry.
    """
    if isinstance(network, str):
        raise ValueError(f"network must be several hosts: ({network!r},)")
    return AllowList(tuple(_rule(entry) for entry in network))


def _rule(entry: str) -> Rule:
    if entry == EVERYWHERE:
        return Rule("")
    below = entry.startswith("*.")
    try:
        host, port = authority(_in_ascii(entry.removeprefix("*.")))
    except ValueError as error:
        if below and "single word" in str(error):
            raise ValueError(f"network: {entry!r} would open a whole top-level domain; name the hosts") from None
        raise ValueError(f"network: {error}") from None
    if port is not None and port not in PORTS:
        raise ValueError(f"network: {entry!r}: only the ports 80 and 443 can be opened")
    return Rule(host, port, below)


def _in_ascii(entry: str) -> str:
    """Names in other scripts as the domain name system has them (`xn--`)."""
    try:
        return entry if entry.isascii() else entry.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"{entry[:100]!r} is not the name of a host") from None
