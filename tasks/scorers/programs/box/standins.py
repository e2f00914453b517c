"""The attributes of stand-ins: what an operator or a method does to an object of the other side. Runs inside the box.

One rule protects verdicts: what a test compares a result with is never shown to the program. An operator between a
handle and a local value is not forwarded (`==` is false, arithmetic raises TypeError), between two handles it is.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Iterable
from typing import Any

from agentlab.tasks.scorers.programs.box import awaiting, iterating, observing
from agentlab.tasks.scorers.programs.box.methods import Method
from agentlab.tasks.scorers.programs.box.proxies import (
    BINARY,
    COMPARISONS,
    SPECIALS,
    UNARY,
    Forward,
    Link,
    is_remote,
    may_be_read,
    refuse_subclass,
    special_names,
)
from agentlab.tasks.scorers.programs.box.values import IMMUTABLE, MUTABLE, plain_value

REMEMBERED = special_names("float int index complex hash trunc floor ceil")
"""Conversions that are asked once for every handle, so that one result cannot be many numbers."""

COMPARING = frozenset(
    ["difference", "intersection", "union", "symmetric_difference", "issubset", "issuperset", "isdisjoint"]
) | {"count", "index", "startswith", "endswith", "find", "rfind", "rindex"}
"""Methods of containers that are applied here, on the plain contents, when a test gives them a value of its own."""

SHOWN = special_names("str repr format invert")
"""What a class derived from an immutable built-in says itself; else its operators are the built-in's, on its value."""

GROWING = special_names("iadd ior")
"""Operators with which a test puts something into a container of the program's: no comparison."""

KNOWN = SPECIALS | {"unhashable", "keyed", "coroutine"}
"""What the description of a class may say of it."""


def traits_of(kind: type, members: Iterable[Any]) -> list[str]:
    """What a stand-in class has to know of `kind`; `members` are the attributes of it and its bases, nearest first."""
    own = list(members)
    traits = {name for name in SPECIALS for found in own if found.get(name) is not None}
    if own and "__hash__" in own[0] and own[0]["__hash__"] is None:
        traits.add("unhashable")
    if any("keys" in found for found in own):
        traits.add("keyed")
    if kind is types.CoroutineType:
        traits.add("coroutine")
    return sorted(traits)


def methods_of(kind: type) -> list[str]:
    """The methods of a class that are looked up when they are called: those that nothing computes."""
    mro = type.__getattribute__(kind, "__mro__")
    found: dict[str, Any] = {}
    for members in [c.__dict__ for c in mro if c is not object]:
        found = {name: value for name, value in members.items() if isinstance(name, str)} | found
    if "__getattribute__" in found:
        return []
    return [name for name, value in found.items() if type(value) is types.FunctionType and not name.startswith("__")]


def namespace(
    link: Link, described: tuple[int, frozenset[str], frozenset[str]], base: type | None, standard: type | None
) -> dict[str, Any]:
    """The attributes of a local class: which special methods it has is what the other side's class has.

    `described` are the class's number, traits and methods, `base` is the built-in type that it derives from, `standard`
    the class of the standard library.
    """
    number, traits, methods = described
    made = _attributes(link, methods) | {"_bridge_class_id_": number}
    if base in IMMUTABLE:
        return made | _of_a_value(link, traits, base)
    for name in traits & SPECIALS:
        made[name] = _operator(link, name)
    made |= _observed(link, traits)
    if "__await__" in traits:
        made |= awaiting.awaitable(link, coroutine="coroutine" in traits)
    if base in MUTABLE:
        made |= _live_container(link, base, traits) | {
            "__class__": _looks_like(standard if standard is not None and issubclass(standard, base) else base)
        }
    if "unhashable" in traits or ("__eq__" in made and "__hash__" not in made):
        made["__hash__"] = None
    made.setdefault("__str__", _forward(link, "__str__"))
    made.setdefault("__repr__", _forward(link, "__repr__"))
    return made


def exception_namespace(link: Link, number: int) -> dict[str, Any]:
    """Exceptions keep their attributes to themselves (tracebacks, causes); their text is the one that was sent."""

    def get(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return link.ask("get", self, name)

    return {
        "_bridge_class_id_": number,
        "__init_subclass__": classmethod(refuse_subclass),
        "__getattr__": get,
        "__str__": lambda self: object.__getattribute__(self, "_bridge_text_"),
    }


def _attributes(link: Link, methods: frozenset[str]) -> dict[str, Any]:
    def get(self: Any, name: str) -> Any:
        if not may_be_read(name):
            raise AttributeError(name)
        if name in methods and name not in link.replaced:
            return Method(link, self, name)
        return getattr(type(self), name) if name == "__dataclass_fields__" else link.ask("get", self, name)

    def put(self: Any, name: str, value: Any) -> None:
        link.replaced.add(name)
        link.ask("set", self, name, value)

    def remove(self: Any, name: str) -> None:
        link.ask("del", self, name)

    def reduce(self: Any, _: Any) -> Any:
        raise TypeError("an object of the other process cannot be pickled")

    return {
        "__getattr__": get,
        "__setattr__": put,
        "__delattr__": remove,
        "__dict__": _Attribute(link, "__dict__"),
        "__doc__": _Attribute(link, "__doc__"),
        "__copy__": lambda self: link.ask("copy", self, False),
        "__deepcopy__": lambda self, _: link.ask("copy", self, True),
        "__reduce_ex__": reduce,
        "__init_subclass__": classmethod(refuse_subclass),
    }


class _Attribute:
    """An attribute that every class has, here too, but that is meant of the object on the other side."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name

    def __get__(self, stand_in: Any, owner: type) -> Any:
        return self._link.ask("get", owner if stand_in is None else stand_in, self._name)

    def __set__(self, stand_in: Any, value: Any) -> None:
        self._link.ask("set", stand_in, self._name, value)


def _of_a_value(link: Link, traits: frozenset[str], base: Any) -> dict[str, Any]:
    """Of a class derived from `int`, `str`, `tuple`: what else it can do, and how it shows itself."""
    made: dict[str, Any] = {}
    for name in traits & SPECIALS:
        if name in BINARY - COMPARISONS:
            made[name] = _between_handles_else(link, name, getattr(base, name, None))
        elif name in SHOWN or not hasattr(base, name):
            made[name] = _operator(link, name)
        else:
            made[name] = getattr(base, name)  # before what a class between this one and the built-in says
    if hasattr(base, "__len__"):
        made["__bool__"] = lambda self: base.__len__(self) > 0
        made["__reversed__"] = lambda self: reversed(plain_value(self, base))
    return made


def _operator(link: Link, name: str) -> Forward:
    if name == "__call__":
        return _forward_call(link)
    if name == "__contains__":
        return _contains(link)
    if name == "__eq__":
        return _equality(link)
    if name == "__exit__":
        return _leave(link)
    if name == "__aexit__":
        return awaiting.leaving(link)  # type: ignore[no-any-return]
    if name == "__next__":
        return iterating.stepping(link)
    if name in REMEMBERED:
        return _forward_once(link, name)
    return _forward(link, name) if name in UNARY else _between_handles_else(link, name, None)


def _observed(link: Link, traits: frozenset[str]) -> dict[str, Any]:
    """How the objects of a class are walked through, measured and indexed (see `observing`)."""
    walked, indexed = "__iter__" in traits, "__getitem__" in traits and "keyed" not in traits
    if "__next__" in traits or not (walked or indexed):
        return {}
    made = {"__len__": observing.measuring(link), "__bool__": observing.judging(link)}
    if walked:
        made["__iter__"] = observing.walking(link)
    if indexed and ("__len__" in traits or not walked):
        made["__getitem__"] = observing.taking(link)
    return {name: method for name, method in made.items() if name in traits}


def _forward(link: Link, name: str) -> Forward:
    def special(self: Any, *args: Any) -> Any:
        return link.ask("special", self, name, args)

    return special


def _forward_once(link: Link, name: str) -> Forward:
    def special(self: Any) -> Any:
        kept = observing.kept(self)
        if name not in kept:
            kept[name] = link.ask("special", self, name, ())
        return kept[name]

    return special


def _forward_call(link: Link) -> Forward:
    def special(self: Any, *args: Any, **kwargs: Any) -> Any:
        return link.ask("call", self, args, kwargs)

    return special


def _leave(link: Link) -> Forward:
    """The end of a `with` block: the program may swallow what it likes, but no failed assertion."""

    def leave(self: Any, kind: Any, error: Any, trace: Any) -> Any:
        swallowed = link.ask("special", self, "__exit__", (kind, error, None))
        return False if isinstance(error, AssertionError) else swallowed

    return leave


def _between_handles_else(link: Link, name: str, builtin: Any) -> Forward:
    """An operator that is forwarded between handles; with a local value it is the built-in's, where there is one."""

    def special(self: Any, *others: Any) -> Any:
        if all(is_remote(other) for other in others):
            return link.ask("special", self, name, others)
        return NotImplemented if builtin is None else builtin(self, *others)

    return special


def _equality(link: Link) -> Forward:
    """`==` between handles, unless the program's class equals anything at all: then it is no comparison."""
    equals_anything: list[bool] = []

    def equal(self: Any, other: Any) -> Any:
        if not is_remote(other):
            return NotImplemented
        result = link.ask("special", self, "__eq__", (other,))
        if result is NotImplemented or not result or self is other:
            return result
        if not equals_anything:
            equals_anything.append(bool(link.ask("equals_anything", self)))
        return False if equals_anything[0] else result

    return equal


def _contains(link: Link) -> Forward:
    def contains(self: Any, item: Any) -> bool:
        if is_remote(item):
            return bool(link.ask("special", self, "__contains__", (item,)))
        return any(item is other or item == other for other in self)

    return contains


def _plain(link: Link, value: Any, base: type) -> Any:
    """The contents of a container, which are exactly a built-in or nothing at all."""
    plain = link.ask("plain", value)
    if type(plain) is not MUTABLE[base]:
        raise TypeError("the program sent no contents of a container")
    return plain


def _on_plain_value(link: Link, name: str, base: type) -> Forward:
    """An operator of a list, dict or set of the program's own class: applied to its plain contents, here."""
    function = getattr(operator, name, None)
    swapped = getattr(operator, f"__{name[3:]}", None) if name.startswith("__r") else None

    def special(self: Any, other: Any) -> Any:
        plain = _plain(link, self, base)
        if is_remote(other):
            other = link.ask("plain", other)
        if function is not None:
            return function(plain, other)
        return NotImplemented if swapped is None else swapped(other, plain)

    return special


def _method(link: Link, name: str, base: type) -> Forward:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name in COMPARING and not kwargs and not all(is_remote(arg) for arg in args):
            return getattr(MUTABLE[base], name)(_plain(link, self, base), *args)
        return link.ask("method", self, name, args, kwargs)

    return method


def _looks_like(base: type) -> property:
    """`isinstance(x, list)` holds, yet no real and empty list is there for C code to read past the methods."""
    shadows: dict[type, type] = {}

    def shadow(self: Any) -> type:
        kind = type(self)
        if kind not in shadows:
            shadows[kind] = type(base)(kind.__name__, (base,), {"__module__": kind.__module__})
        return shadows[kind]

    return property(shadow)


def _live_container(link: Link, base: type, traits: frozenset[str]) -> dict[str, Any]:
    names = [name for name in dir(base) if name in SPECIALS or not name.startswith("_")]
    made: dict[str, Any] = {"__hash__": None}
    for name in names:
        if name in GROWING or (name in UNARY and name != "__hash__"):
            made[name] = _forward(link, name)
        elif name in BINARY or name == "__contains__":
            made[name] = _on_plain_value(link, name, base)
        elif not name.startswith("_"):
            made[name] = _method(link, name, base)
    if MUTABLE[base] is list:
        made["__radd__"] = _on_plain_value(link, "__radd__", base)
    if MUTABLE[base] is str:
        made["__hash__"] = lambda self: hash(_plain(link, self, base))
    keyed = {"keyed"} if MUTABLE[base] is dict else set()
    return made | _observed(link, traits | frozenset(names) | keyed)
