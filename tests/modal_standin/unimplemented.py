"""Calls that the stand-in does not have: answered with their names, so that a newer client says what it wants."""

from __future__ import annotations

from typing import Any, TypeVar

from grpclib import GRPCError, Status

Service = TypeVar("Service", bound=type)


def complete(service: Service) -> Service:
    """The service with an answer for every call of its protocol; those that it lacks are UNIMPLEMENTED."""
    missing = getattr(service, "__abstractmethods__", frozenset())
    for name in missing:
        setattr(service, name, _refusing(name))
    service.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # what is abstract is decided here
    return service


def _refusing(name: str) -> Any:
    async def refuse(self: object, stream: object) -> None:
        raise GRPCError(Status.UNIMPLEMENTED, f"the stand-in for Modal has no {name}")

    return refuse
