"""Exceptions that cross: what they keep besides their arguments, and how they are made again. Runs inside the box."""

from __future__ import annotations

import sys
from typing import Any

from agentlab.tasks.scorers.programs.box.values import builtin_exception

MAX_TEXT = 10_000
MAX_CAUSES = 5

_KEPT: dict[type[BaseException], tuple[str, ...]] = {
    OSError: ("errno", "strerror", "filename", "filename2"),
    ImportError: ("name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
}
"""What C code keeps outside `args`."""
_DUNDERS = frozenset({"__cause__", "__notes__"})
_OF_TEST_RUNNERS = ("unittest", "doctest", "bdb", "pdb")


def exception_state(error: BaseException, *, with_cause: bool) -> dict[str, Any]:
    """What `error` says besides its arguments: attributes of built-in exceptions, notes, and its cause."""
    names = [name for kind, kept in _KEPT.items() if isinstance(error, kind) for name in kept]
    state: dict[str, Any] = {name: getattr(error, name, None) for name in names}
    if standard_exception(type(error)) is not None:  # there is no stand-in that would ask for the others
        state |= {name: value for name, value in vars(error).items() if not name.startswith("_")}
    state["__notes__"] = vars(error).get("__notes__") if hasattr(error, "__dict__") else None
    state["__cause__"] = error.__cause__ if with_cause and _causes(error) <= MAX_CAUSES else None
    return {name: value for name, value in state.items() if value is not None}


def _causes(error: BaseException | None) -> int:
    count = 0
    while error is not None and count <= MAX_CAUSES:
        error, count = error.__cause__, count + 1
    return count


def set_state(error: BaseException, state: dict[str, Any]) -> BaseException:
    """Give `error` what `exception_state` told of it. ValueError for anything else."""
    for name, value in state.items():
        if name.startswith("_") and name not in _DUNDERS:
            raise ValueError("no exception tells that")
        BaseException.__setattr__(error, name, value)
    return error


def standard_exception(kind: type) -> tuple[str, str] | None:
    """Module and name of an exception of the standard library (`json.JSONDecodeError`), None for any other class."""
    module, name = type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__qualname__")
    return (module, name) if isinstance(module, str) and known_exception(module, name) is kind else None


def known_exception(module: Any, name: Any) -> type[Exception] | None:
    """The exception of the standard library where its module is loaded here, so that a test that catches it does.

    Not one that a test runner takes for a word of its own, as `SkipTest`.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    package = module.partition(".")[0]
    if package not in sys.stdlib_module_names or package in _OF_TEST_RUNNERS or package == "builtins":
        return None
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def text_of(error: BaseException) -> str:
    """What `str` makes of an exception; nothing where its own `__str__` fails."""
    try:
        return str.__str__(str(error))[:MAX_TEXT]
    except Exception:  # noqa: BLE001 - the program's own __str__ failed
        return ""


def made_exception(name: Any, args: list[Any]) -> BaseException:
    """A built-in exception; RuntimeError in place of one that may not cross."""
    kind = builtin_exception(name)
    if kind is None:
        return RuntimeError(f"{str(name)[:100]}: {str(args[0])[:MAX_TEXT] if args else ''}")
    try:
        return kind(*args)
    except (TypeError, ValueError):
        error = kind.__new__(kind)
        error.args = tuple(args)
        return error
