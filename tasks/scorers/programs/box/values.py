"""Which values cross the channel as themselves, and how they are written. Runs inside the box.

A value crosses as itself when its type is exactly one of Python's own: nothing that a program defines is ever
consulted, so what arrives compares, hashes and iterates as the built-in does. Everything else stays where it is and is
named by a handle (see `packing`).
"""

from __future__ import annotations

import builtins
import collections
import sys
import types
from collections.abc import Callable, Collection, Iterable
from typing import Any

MAX_DEPTH = 100
SMALL = 1 << 53

Unpack = Callable[[Any], Any]

_NAMED = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range, object, slice)
_LIKE_BUILTINS = (collections.UserDict, collections.UserList, collections.UserString)
TYPES: dict[str, type] = {kind.__name__: kind for kind in (*_NAMED, *_LIKE_BUILTINS, collections.deque, type(None))}
"""Classes that cross by name. Functions never do: a program must not be able to hand `eval` to a test."""

REFUSED_EXCEPTIONS = frozenset({"KeyboardInterrupt", "GeneratorExit", "BaseException", "BaseExceptionGroup"})
"""Exceptions that would end a test runner instead of a test; they arrive as RuntimeError."""


def builtin_exception(name: object) -> type[BaseException] | None:
    """The built-in exception class of that name, None where there is none that may cross."""
    found = getattr(builtins, name, None) if isinstance(name, str) else None
    if isinstance(found, type) and issubclass(found, BaseException) and name not in REFUSED_EXCEPTIONS:
        return found
    return None


def named_type(name: object) -> type:
    """The built-in class that `name` names; ValueError for any other name."""
    found = TYPES.get(name) if isinstance(name, str) else None
    found = found or builtin_exception(name)
    if found is None:
        raise ValueError("no such type")
    return found


def name_of_type(kind: type) -> str | None:
    """The name under which a class crosses; None where it does not cross by name."""
    name = type.__getattribute__(kind, "__name__")
    return name if TYPES.get(name) is kind or builtin_exception(name) is kind else None


def plain_value(value: Any, kind: type) -> Any:
    """The built-in value inside an instance of a subclass of `kind`, read below what the subclass overrides."""
    return PLAIN[kind](value)


def _data(plain: type) -> Callable[[Any], Any]:
    """What a class made to be derived from (`UserDict`) keeps its contents in."""
    return lambda value: plain_value(value.data, plain)


PLAIN: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    frozenset: lambda value: frozenset().union(value),
    list: lambda value: list.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set().union(value),
    collections.deque: lambda value: collections.deque(collections.deque.__iter__(value), value.maxlen),
    collections.UserDict: _data(dict),
    collections.UserList: _data(list),
    collections.UserString: _data(str),
}
"""The built-in types whose subclasses carry a value; the `MUTABLE` can change and are read anew each time."""

IMMUTABLE = (int, float, str, bytes, tuple, frozenset)
MUTABLE: dict[type, type] = {
    **{kind: kind for kind in (list, dict, set, collections.deque)},
    **dict(zip(_LIKE_BUILTINS, (dict, list, str), strict=True)),
}
"""The others, each with the built-in type that its contents are."""


def literal_base(kind: type) -> type | None:
    """The built-in type of `PLAIN` that a class derives from, None where it derives from none."""
    mro = type.__getattribute__(kind, "__mro__")
    return next((base for base in mro if base in PLAIN), None)


def pairs(items: Iterable[Any]) -> list[Any]:
    """The two values of every entry, one after the other."""
    return [part for pair in items for part in pair]


_NOT = object()
"""In place of a part that does not cross: the whole value is a handle then."""


def _zone(zone: Any) -> Any:
    known = (("datetime", "timezone"), ("zoneinfo", "ZoneInfo"))
    return zone if zone is None or standard_name(type(zone)) in known else _NOT


def _content(value: Any, kind: type) -> Any:
    return value.data if type(value.data) is kind else _NOT


STANDARD: dict[tuple[str, str], Callable[[Any], tuple[Any, ...]]] = {
    ("fractions", "Fraction"): lambda v: (v.numerator, v.denominator),
    ("decimal", "Decimal"): lambda v: (str(v),),
    ("collections", "deque"): lambda v: (list(v), v.maxlen),
    ("collections", "OrderedDict"): lambda v: ([list(item) for item in v.items()],),
    ("collections", "Counter"): lambda v: (dict(v.items()),),
    ("collections", "defaultdict"): lambda v: (v.default_factory, dict(v.items())),
    ("collections", "ChainMap"): lambda v: tuple(v.maps),
    ("collections", "UserDict"): lambda v: (_content(v, dict),),
    ("collections", "UserList"): lambda v: (_content(v, list),),
    ("collections", "UserString"): lambda v: (_content(v, str),),
    ("array", "array"): lambda v: (v.typecode, v.tolist()),
    ("datetime", "date"): lambda v: (v.year, v.month, v.day),
    ("datetime", "time"): lambda v: (v.hour, v.minute, v.second, v.microsecond, _zone(v.tzinfo)),
    ("datetime", "datetime"): lambda v: (
        *(v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond),
        _zone(v.tzinfo),
    ),
    ("datetime", "timedelta"): lambda v: (v.days, v.seconds, v.microseconds),
    ("datetime", "timezone"): lambda v: (v.utcoffset(None),),
    ("zoneinfo", "ZoneInfo"): lambda v: (v.key or _NOT,),
    ("uuid", "UUID"): lambda v: (str(v),),
    ("pathlib", "PosixPath"): lambda v: (str(v),),
    ("pathlib", "PurePosixPath"): lambda v: (str(v),),
}
"""Values of the standard library that cross as themselves: the arguments that make them again."""


def standard_name(kind: type) -> tuple[str, str] | None:
    """The entry of `STANDARD` for exactly this class."""
    name = (type.__getattribute__(kind, "__module__"), type.__getattribute__(kind, "__name__"))
    if not (isinstance(name[0], str) and name in STANDARD):
        return None
    return name if getattr(sys.modules.get(name[0]), name[1], None) is kind else None


def standard_type(name: Any) -> type | None:
    """The class that an entry of `STANDARD` stands for; ValueError for another name."""
    if name is None:
        return None
    if tuple(name) not in STANDARD:
        raise ValueError("no such standard value")
    __import__(name[0])
    found: type = getattr(sys.modules[name[0]], name[1])
    return found


def make_standard(module: str, name: str, args: tuple[Any, ...]) -> Any:
    """The standard library's value made again; ValueError for anything that `STANDARD` does not list."""
    kind: Any = standard_type((module, name))
    return kind(*args)


SEQUENCES: dict[type, str] = {
    list: "l",
    tuple: "t",
    set: "s",
    frozenset: "fs",
    type({}.values()): "dv",
    type({}.keys()): "dk",
}
MAPPINGS: dict[type, str] = {dict: "d", type({}.items()): "di", types.MappingProxyType: "mp"}

_AS_IT_IS = {bool, int, float, str, type(None)}


def written_as_they_are(items: Collection[Any]) -> bool:
    """Whether JSON holds every item as it is: a fast way for the long lists that tests of efficiency use."""
    kinds = set(map(type, items))
    if not kinds <= _AS_IT_IS:
        return False
    if int not in kinds:
        return True
    numbers = items if len(kinds) == 1 else [item for item in items if type(item) is int]
    return min(numbers) > -SMALL and max(numbers) < SMALL


def _tagged(tag: str, items: Collection[Any], pack: Unpack) -> list[Any]:
    return [tag, *items] if written_as_they_are(items) else [tag, *[pack(item) for item in items]]


def pack_literal(value: Any, pack: Callable[[Any], Any]) -> list[Any] | None:
    """A literal that JSON cannot hold, as a tagged array; None for what is no literal. `pack` writes what is inside."""
    kind = type(value)
    if kind in SEQUENCES:
        return _tagged(SEQUENCES[kind], value, pack)
    if kind in MAPPINGS:
        return _tagged(MAPPINGS[kind], pairs(value if MAPPINGS[kind] == "di" else value.items()), pack)
    if kind is int:
        return ["i", format(value, "x")]
    if kind is bytes or kind is bytearray:
        return ["b" if kind is bytes else "ba", value.hex()]
    if kind is complex:
        return ["c", value.real, value.imag]
    if kind is range or kind is slice:
        return ["r" if kind is range else "sl", pack(value.start), pack(value.stop), pack(value.step)]
    if value is Ellipsis or value is NotImplemented:
        return ["e" if value is Ellipsis else "ni"]
    name = standard_name(kind)
    parts = () if name is None else STANDARD[name](value)
    if name is None or any(part is _NOT for part in parts):
        return None
    return ["x", *name, *[pack(part) for part in parts]]


def _dict(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    return dict(zip(items[::2], items[1::2], strict=True))


def _text(items: list[Any]) -> str:
    (text,) = items
    if type(text) is not str:
        raise ValueError("text expected")
    return text


MADE_OF_VALUES: dict[str, Callable[[list[Any]], Any]] = {
    "l": list,
    "t": tuple,
    "s": set,
    "fs": frozenset,
    "dv": lambda items: dict(enumerate(items)).values(),
    "dk": lambda items: dict.fromkeys(items).keys(),
    "d": _dict,
    "di": lambda items: _dict(items).items(),
    "mp": lambda items: types.MappingProxyType(_dict(items)),
    "r": lambda items: range(*items),
    "sl": lambda items: slice(*items),
    "x": lambda items: make_standard(items[0], items[1], tuple(items[2:])),
}
MADE_OF_TEXT: dict[str, Callable[[list[Any]], Any]] = {
    "i": lambda items: int(_text(items), 16),
    "b": lambda items: bytes.fromhex(_text(items)),
    "ba": lambda items: bytearray.fromhex(_text(items)),
    "c": lambda items: complex(*items),
    "e": lambda _: Ellipsis,
    "ni": lambda _: NotImplemented,
}


def unpack_literal(tag: str, items: list[Any], unpack: Unpack) -> tuple[bool, Any]:
    """(True, value) for the tagged array of a literal, (False, None) for another tag. Raises for malformed input."""
    if tag in MADE_OF_VALUES:
        nested = not set(map(type, items)).isdisjoint((list, dict))
        return True, MADE_OF_VALUES[tag]([unpack(item) for item in items] if nested else items)
    if tag in MADE_OF_TEXT:
        return True, MADE_OF_TEXT[tag](items)
    return False, None
