"""Stand-ins for classes and modules that live on the other side. Runs inside the box.

Every class of the other side becomes a local class of the same name, made by `ProxyType`; its objects become instances
of it (their attributes: `standins`). So `type(x) == C`, `isinstance`, `assertRaises(C)` and tables of C work as they
would in one process.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable
from typing import Any, Protocol

Forward = Callable[..., Any]


def special_names(names: str) -> frozenset[str]:
    """The names of special methods, from their cores."""
    return frozenset(f"__{name}__" for name in names.split())


UNARY = special_names(
    "call len length_hint iter next reversed getitem setitem delitem bool int float complex index bytes enter exit abs "
    "neg pos invert round trunc floor ceil format fspath str repr hash dir await aiter anext aenter aexit"
)
"""Special methods that are forwarded whatever their arguments: they say nothing of what a test expects."""

COMPARISONS = special_names("eq ne lt le gt ge")
BINARY = (
    COMPARISONS
    | special_names("add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor")
    | special_names("radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rlshift rrshift rand ror rxor")
    | special_names("iadd isub imul imatmul itruediv ifloordiv imod ipow ilshift irshift iand ior ixor")
)
SPECIALS = UNARY | BINARY | {"__contains__"}


def may_be_read(name: str) -> bool:
    """Whether a name is an attribute here. Not operators, and not what numpy calls in their place: called as methods
    they would carry the value that a result is compared with.
    """
    return name not in BINARY and name != "__contains__" and not name.startswith("__array")


class Link(Protocol):
    """What a stand-in needs of the bridge."""

    changes: int
    """Raised by every request that may change an object, on either side."""
    traffic: int
    """Raised by every request, on either side."""
    replaced: set[str]
    """Names of attributes that this side has put something else in the place of."""

    def ask(self, op: str, *args: Any) -> Any:
        """Send a request about an object and return its result."""
        ...


def is_remote(value: Any) -> bool:
    """Whether a value stands for an object of the other side."""
    kind = type(value)
    return kind is ProxyType or isinstance(kind, ProxyType) or kind is ProxyModule


def remote_id(value: Any) -> int:
    """The other side's number for what `value` stands for."""
    if type(value) is ProxyType:
        return type.__getattribute__(value, "__dict__")["_bridge_class_id_"]  # type: ignore[no-any-return]
    return object.__getattribute__(value, "_bridge_id_")  # type: ignore[no-any-return]


class ProxyType(type):
    """The class of the local classes. Calling one makes the object on the other side."""

    _bridge_: Link

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._bridge_.ask("call", cls, args, kwargs)

    def __getattr__(cls, name: str) -> Any:
        if not may_be_read(name):
            raise AttributeError(name)
        if name == "__dataclass_fields__":
            return _dataclass_fields(cls)
        return cls._bridge_.ask("get", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name.startswith("__abstractmethods__"):
            return
        cls._bridge_.replaced.add(name)
        cls._bridge_.ask("set", cls, name, value)

    def __delattr__(cls, name: str) -> None:
        cls._bridge_.ask("del", cls, name)

    def __iter__(cls) -> Any:
        return cls._bridge_.ask("special", cls, "__iter__", ())

    def __len__(cls) -> int:
        return cls._bridge_.ask("special", cls, "__len__", ())  # type: ignore[no-any-return]

    def __bool__(cls) -> bool:
        return True

    def __getitem__(cls, key: Any) -> Any:
        return cls._bridge_.ask("special", cls, "__getitem__", (key,))

    def __contains__(cls, item: Any) -> bool:
        return any(item is other or item == other for other in cls)


def _dataclass_fields(cls: ProxyType) -> dict[str, Any]:
    """The fields of a dataclass, as this side's `dataclasses` knows its own: for `asdict`, `replace`, `fields`."""
    names = cls._bridge_.ask("fields", cls)
    if type(names) is not list:
        raise AttributeError("__dataclass_fields__")
    import dataclasses  # slow to import, and few tests look

    made = {}
    for name, init, kind in names:
        made[name] = found = dataclasses.field(init=bool(init))
        found.name, found.type = str(name), kind
        found._field_type = dataclasses._FIELD  # type: ignore[attr-defined]
    return made


def refuse_subclass(cls: type, /, **_: Any) -> None:
    """What a test meets that derives a class from one of the program's."""
    if "_bridge_class_id_" not in vars(cls):
        raise TypeError("a test cannot derive from a class of the program, which lives in another process")


def _may_be_starred(name: Any) -> bool:
    """Whether `from module import *` may bind a name: not one that would replace what the test itself stands on."""
    kept = ("test", "Test", "setUp", "tearDown", "load_tests", "unittest", "_")
    return type(name) is str and not hasattr(builtins, name) and not name.startswith(kept)


class ProxyModule(types.ModuleType):
    """A module of the other side. Attributes that the import system sets stay here."""

    def __init__(self, name: str, link: Link, number: int) -> None:
        super().__init__(name)
        object.__setattr__(self, "_bridge_", link)
        object.__setattr__(self, "_bridge_id_", number)

    def __getattr__(self, name: str) -> Any:
        link = object.__getattribute__(self, "_bridge_")
        if name == "__all__":  # for `from module import *`
            return [name for name in link.ask("names", self) if _may_be_starred(name)]
        if name.startswith("__"):
            raise AttributeError(name)
        return link.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            object.__setattr__(self, name, value)
        elif not isinstance(value, ProxyModule):
            object.__getattribute__(self, "_bridge_").ask("set", self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__getattribute__(self, "_bridge_").ask("del", self, name)
