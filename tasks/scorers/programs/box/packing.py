"""Objects as JSON and back: values as themselves, everything else as numbered handles. Runs inside the box.

Each side numbers the objects that it lets the other hold. A class is described when it is first named, so that the
other side can make a stand-in class of it (see `standins`).
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any

from agentlab.tasks.scorers.programs.box.exceptions import (
    exception_state,
    known_exception,
    made_exception,
    set_state,
    standard_exception,
    text_of,
)
from agentlab.tasks.scorers.programs.box.methods import Method, resolved
from agentlab.tasks.scorers.programs.box.proxies import ProxyType, is_remote, remote_id
from agentlab.tasks.scorers.programs.box.standins import KNOWN, exception_namespace, methods_of, namespace, traits_of
from agentlab.tasks.scorers.programs.box.values import (
    IMMUTABLE,
    MAX_DEPTH,
    SMALL,
    literal_base,
    name_of_type,
    named_type,
    pack_literal,
    plain_value,
    standard_name,
    standard_type,
    unpack_literal,
)

MAX_HANDLES = 100_000
SCALARS = (int, float, str, bytes)
HEAP_TYPE = 1 << 9


class Packer:
    """Writes and reads values. `link` is the bridge that stand-ins send their requests over."""

    def __init__(self, link: Any) -> None:
        self._link = link
        self._objects: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}
        self._standins: dict[int, Any] = {}
        self._classes: dict[int, type] = {}
        self._handed: set[int] = set()
        self._told: set[int] = set()
        self._telling: list[int] = []

    @contextlib.contextmanager
    def message(self) -> Iterator[None]:
        """While one message is written and sent: when it has left, its classes need no description any more."""
        outer, self._telling = self._telling, []
        try:
            yield
            self._told.update(self._telling)
        finally:
            self._telling = outer

    def was_handed(self, kind: type) -> bool:
        """Whether a class was handed over as a value, not only described because an object of it was."""
        return self._numbers.get(id(kind)) in self._handed

    def number(self, value: Any) -> int:
        """The handle of an object of this side."""
        number = self._numbers.get(id(value))
        if number is None:
            if len(self._objects) >= MAX_HANDLES:
                raise ValueError("too many objects were handed over")
            number = len(self._objects) + 1
            self._numbers[id(value)] = number
            self._objects[number] = value
        return number

    # -- writing -------------------------------------------------------------------------------------------------------

    def pack(self, value: Any, depth: int = 0) -> Any:
        """`value` as JSON: itself where it is a literal, else a handle. ValueError where it is nested too deeply."""
        kind = type(value)
        if value is None or kind is bool or kind is str or kind is float:
            return value
        if kind is int and -SMALL < value < SMALL:
            return value
        if depth > MAX_DEPTH:
            raise ValueError("the value is nested too deeply to be handed over")
        packed = pack_literal(value, lambda part: self.pack(part, depth + 1))
        return packed if packed is not None else self._pack_object(value, depth)

    def pack_safely(self, error: BaseException) -> Any:
        """An exception, or a word about one that resists being read."""
        try:
            return self._pack_object(error, 0)
        except Exception:  # noqa: BLE001 - whatever it is, it still has to be reported
            self._telling.clear()
            return ["eb", "RuntimeError", ["an exception that cannot be handed over"], {}]

    def _pack_object(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if is_remote(value):
            return ["o", remote_id(value)]
        if kind is types.TracebackType:
            return None
        if isinstance(value, BaseException):
            return self._pack_exception(value, depth)
        if kind is Method:
            return self.pack(resolved(value), depth)
        if isinstance(value, type):
            return ["k", name_of_type(value) or self._handed_class(value)]
        leaving = self._link.leaving(value)
        if leaving is not value:
            return self.pack(leaving, depth + 1)
        base = literal_base(kind)
        if base in IMMUTABLE:
            return ["v", self.number(value), self._describe(kind), self.pack(plain_value(value, base), depth + 1)]
        return ["h", self.number(value), self._describe(kind)]

    def _pack_exception(self, error: BaseException, depth: int) -> Any:
        kind = type(error)
        args = [self._pack_if_possible(arg, depth) for arg in BaseException.args.__get__(error)]  # type: ignore[attr-defined]
        told = exception_state(error, with_cause=self._link.tells_causes)
        state = {name: self._pack_if_possible(value, depth) for name, value in told.items()}
        name = name_of_type(kind)
        if name:
            return ["eb", name, args, state]
        return ["ex", self.number(error), self._describe(kind), args, text_of(error), state]

    def _pack_if_possible(self, value: Any, depth: int) -> Any:
        try:
            return self.pack(value, depth + 1)
        except (ValueError, TypeError):
            return None

    def _handed_class(self, kind: type) -> Any:
        described = self._describe(kind)
        self._handed.add(self.number(kind))
        return described

    def _describe(self, kind: type) -> Any:
        """A class: its number, and all that a stand-in needs when the other side has not been told yet."""
        if isinstance(kind, ProxyType):
            raise TypeError("an object here of a class of the other process cannot be handed over")
        number = self.number(kind)
        if number in self._told or number in self._telling:
            return number
        self._telling.append(number)
        mro = type.__getattribute__(kind, "__mro__")
        base = literal_base(kind)
        exception = next((name_of_type(c) for c in mro if issubclass(c, BaseException) and name_of_type(c)), None)
        if issubclass(kind, BaseException) and exception is None:
            exception = "RuntimeError"
        bases = [self._describe(b) for b in type.__getattribute__(kind, "__bases__") if b.__flags__ & HEAP_TYPE]
        own = [c.__dict__ for c in mro if c is not object and not (c in (base, BaseException) or name_of_type(c))]
        name = type.__getattribute__(kind, "__name__")
        module = type.__getattribute__(kind, "__module__")
        module = module if isinstance(module, str) else ""
        standard = next((found for c in mro if (found := standard_name(c))), None) or standard_exception(kind)
        kept = exception or (base and base.__name__)
        return [number, name, module, bases, kept, standard, traits_of(kind, own), methods_of(kind)]

    # -- reading -------------------------------------------------------------------------------------------------------

    def unpack(self, packed: Any, depth: int = 0) -> Any:
        """The value that `pack` wrote. Raises all kinds of errors for input that makes no sense."""
        if type(packed) is not list:
            return packed if type(packed) is not dict else self._nonsense()
        if depth > 2 * MAX_DEPTH or not packed or type(packed[0]) is not str:
            return self._nonsense()
        tag, items = packed[0], packed[1:]
        known, value = unpack_literal(tag, items, lambda part: self.unpack(part, depth + 1))
        if known:
            return value
        if tag == "o":
            return self._objects[items[0]]
        if tag == "k":
            return named_type(items[0]) if type(items[0]) is str else self._class(items[0])
        if tag == "eb":
            name, args, state = items
            error = made_exception(name, [self.unpack(arg, depth + 1) for arg in args])
            return set_state(error, {key: self.unpack(part, depth + 1) for key, part in state.items()})
        return self._standin(tag, items, depth)

    def _standin(self, tag: str, items: list[Any], depth: int) -> Any:
        number = items[0]
        if type(number) is not int or len(self._standins) > MAX_HANDLES:
            return self._nonsense()
        known = self._standins.get(number)
        if known is not None and tag != "v":
            return known
        cls = self._class(items[1])
        if tag == "v":
            plain = self.unpack(items[2], depth + 1)
            if known is not None and type(known) is cls and _is_still(known, plain):
                return known
            value = self._value(cls, plain)
        elif tag == "ex":
            args, text, state = items[2:]
            value = self._own_exception(cls, [self.unpack(arg, depth + 1) for arg in args], text)
            set_state(value, {key: self.unpack(part, depth + 1) for key, part in state.items()})
        elif tag == "h" and not issubclass(cls, (BaseException, *IMMUTABLE)):
            value = object.__new__(cls)
        else:
            return self._nonsense()
        object.__setattr__(value, "_bridge_id_", number)
        self._standins[number] = value
        return value

    def _nonsense(self) -> Any:
        raise ValueError("a frame that makes no sense")

    def _value(self, cls: ProxyType, plain: Any) -> Any:
        base = next((kind for kind in IMMUTABLE if issubclass(cls, kind)), None)
        if base is None or type(plain) is not base:
            return self._nonsense()
        return base.__new__(cls, plain)  # type: ignore[call-overload]

    def _own_exception(self, cls: Any, args: list[Any], text: Any) -> BaseException:
        if not issubclass(cls, BaseException) or type(text) is not str:
            return self._nonsense()  # type: ignore[no-any-return]
        error: BaseException = cls.__new__(cls, *args)
        BaseException.args.__set__(error, tuple(args))  # type: ignore[attr-defined]
        object.__setattr__(error, "_bridge_text_", text)
        return error

    def _class(self, described: Any) -> Any:
        if type(described) is int:
            return self._classes[described]
        number, name, module, bases, kind, standard, traits, methods = described
        if type(number) is not int or type(name) is not str or len(name) > 200:
            return self._nonsense()
        if number in self._classes:  # described in a message that overtook this one
            return self._classes[number]
        if type(traits) is not list or not set(traits) <= KNOWN:
            return self._nonsense()
        if kind is not None and issubclass(named_type(kind), BaseException):
            return self._exception_class(number, name, str(module), bases, named_type(kind), standard)
        base = None if kind is None else named_type(kind)
        parents = [self._class(part) for part in bases]
        if base in IMMUTABLE and not any(issubclass(parent, base) for parent in parents):
            parents.append(base)
        of_class = (number, frozenset(traits), frozenset(methods))
        made = namespace(self._link, of_class, base, standard_type(standard))
        return self._made_class(number, name, str(module), parents, made)

    def _exception_class(
        self, number: int, name: str, module: str, bases: list[Any], base: type, standard: Any
    ) -> type[BaseException]:
        known = None if standard is None else known_exception(*standard)
        if known is not None:
            self._classes[number] = known
            return known
        parents = [self._class(part) for part in bases]
        if not any(issubclass(parent, base) for parent in parents):
            parents.append(base)
        made: type[BaseException] = self._made_class(
            number, name, module, parents, exception_namespace(self._link, number)
        )
        return made

    def _made_class(self, number: int, name: str, module: str, parents: list[type], made: dict[str, Any]) -> Any:
        made |= {"__module__": module, "__qualname__": name}
        found = self._classes[number] = type.__new__(ProxyType, name, tuple(parents), made)
        type.__setattr__(found, "_bridge_", self._link)
        return found


def _is_still(known: Any, plain: Any) -> bool:
    """Whether a stand-in is a number or text that holds `plain`: an object that crosses twice is one object."""
    kind = type(plain)
    return kind in SCALARS and isinstance(known, kind) and bool(plain_value(known, kind) == plain)
