"""Methods of objects of the other side. Runs inside the box."""

from __future__ import annotations

from typing import Any

from agentlab.tasks.scorers.programs.box.proxies import Link


class Method:
    """A method that is looked up when it is called: one request where looking it up first would take two."""

    __slots__ = ("_link", "_name", "_owner")

    def __init__(self, link: Link, owner: Any, name: str) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_owner", owner)
        object.__setattr__(self, "_name", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._link.ask("method", self._owner, self._name, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(resolved(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(resolved(self), name, value)

    def __eq__(self, other: object) -> bool:
        return bool(resolved(self) == (resolved(other) if isinstance(other, Method) else other))

    def __hash__(self) -> int:
        return hash(resolved(self))

    def __repr__(self) -> str:
        return repr(resolved(self))


def resolved(method: Method) -> Any:
    """What the other side holds under the method's name."""
    return method._link.ask("get", method._owner, method._name)
