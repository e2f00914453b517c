"""The worker: holds the candidate's code and answers the supervisor's requests. Runs inside the box as user `task`.

Nothing here is a defence: the candidate owns this process. It gives programs a fair place (a channel that prints do not
disturb, modules that are found as usual) and is believed in nothing but the values it sends.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import fcntl
import importlib
import io
import operator
import os
import resource
import sys
import types
from typing import Any

from agentlab.tasks.scorers.programs.box.awaiting import Tasks
from agentlab.tasks.scorers.programs.box.bridge import Bridge
from agentlab.tasks.scorers.programs.box.iterating import taken
from agentlab.tasks.scorers.programs.box.values import literal_base, plain_value
from agentlab.tasks.scorers.programs.box.wire import Channel, ChannelLost

HIGH_FD = 100
MAX_PRINTED = 1 << 20
"""Characters that are handed over at a time."""


def special(value: Any, name: str, args: tuple[Any, ...]) -> Any:
    """Apply a special method the way the interpreter does."""
    if name == "__iter__":
        return iter(value)
    if name == "__next__":
        return next(value)
    if name in ("__len__", "__getitem__", "__setitem__", "__delitem__", "__contains__"):
        function = len if name == "__len__" else getattr(operator, name)
        return function(value, *args)
    if name in ("__str__", "__repr__"):
        text = str(value) if name == "__str__" else repr(value)
        return str.__str__(text)
    return getattr(type(value), name)(value, *args)


class WorkerBridge(Bridge):
    """The candidate's side: the supervisor may do anything with the candidate's objects."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._tasks = Tasks(own_loop=True)
        self._printed: io.StringIO | None = None
        self._builtins: dict[str, Any] = {}

    def ask(self, op: str, *args: Any) -> Any:
        if op != "print":
            self._tell_what_was_printed()
        return super().ask(op, *args)

    def serve_operation(self, op: Any, packed: list[Any], args: list[Any]) -> Any:
        try:
            return getattr(self, f"do_{op}")(*args)
        finally:
            self._tell_what_was_printed()

    def _tell_what_was_printed(self) -> None:
        """Hand over what the program has printed since a test began to capture it."""
        text = "" if self._printed is None else self._printed.getvalue()
        if self._printed is not None and text:
            self._printed.seek(0)
            self._printed.truncate()
            for start in range(0, len(text), MAX_PRINTED):
                self.ask("print", text[start : start + MAX_PRINTED])

    def do_capture(self, on: bool) -> None:
        """Collect what the program prints, or leave it alone."""
        self._printed = io.StringIO() if on else None
        sys.stdout = self._printed or sys.__stdout__

    def do_builtin(self, name: str, value: Any) -> None:
        """Put a test's function in the place of a built-in one, or the built-in one back (None)."""
        original = self._builtins.setdefault(name, getattr(builtins, name))
        setattr(builtins, name, original if value is None else value)

    def do_get(self, value: Any, name: str) -> Any:
        return getattr(value, name)

    def do_set(self, value: Any, name: str, new: Any) -> None:
        setattr(value, name, new)

    def do_del(self, value: Any, name: str) -> None:
        delattr(value, name)

    def do_call(self, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return value(*args, **kwargs)

    def do_method(self, value: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return getattr(value, name)(*args, **kwargs)

    def do_special(self, value: Any, name: str, args: tuple[Any, ...]) -> Any:
        return special(value, name, args)

    def do_plain(self, value: Any) -> Any:
        base = literal_base(type(value))
        return value if base is None else plain_value(value, base)

    def do_copy(self, value: Any, deep: bool) -> Any:
        return copy.deepcopy(value) if deep else copy.copy(value)

    def do_ahead(self, iterator: Any, most: int) -> Any:
        return taken(iterator, most)

    def do_fields(self, kind: type) -> list[Any] | None:
        """Of a dataclass: its fields' names, whether its constructor takes them, and their types."""
        found = getattr(kind, "__dataclass_fields__", None)
        if found is None:
            return None
        dataclasses = importlib.import_module("dataclasses")
        return [[field.name, field.init, field.type] for field in dataclasses.fields(kind)]

    def do_await(self, value: Any) -> int:
        return self._tasks.begin(value)

    def do_settled(self, number: int) -> bool:
        return self._tasks.settled(number)

    def do_outcome(self, number: int) -> Any:
        return self._tasks.outcome(number)

    def do_cancel(self, number: int) -> None:
        self._tasks.cancel(number)

    def do_equals_anything(self, value: Any) -> bool:
        """Whether an object says that it equals one that nobody has seen before."""
        try:
            return bool(value == object())
        except Exception:  # noqa: BLE001 - a comparison that only knows its own kind
            return False

    def do_names(self, module: types.ModuleType) -> list[str]:
        return list(getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]))

    def do_seed(self, args: tuple[Any, ...]) -> None:
        """Follow the tests' `random.seed`, which the program's own numbers are meant to obey."""
        importlib.import_module("random").seed(*args)

    def do_import(self, name: str) -> int:
        """Import a module of the candidate's; the number of its handle."""
        return self.handle(importlib.import_module(name))

    def do_load(self, name: str, sources: list[str]) -> int:
        """Run `sources` one after the other as one new module; the number of its handle."""
        module = types.ModuleType(name)
        sys.modules[name] = module
        for position, source in enumerate(sources):
            exec(compile(source, f"<{name} {position}>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the candidate's code, in its box
        return self.handle(module)


def main(config: dict[str, Any]) -> None:
    """Serve until the channel ends. `config`: `path`, directories to import from; `cpu_s`, processor time."""
    reader = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)
    writer = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, HIGH_FD)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # when memory runs out, this process goes first
    resource.setrlimit(resource.RLIMIT_CPU, (config["cpu_s"], config["cpu_s"]))
    sys.path[:0] = config["path"]
    sys.argv[:] = ["program"]
    channel = Channel(reader, writer)
    bridge = WorkerBridge(channel)
    try:
        channel.send(["ready"])
        while True:
            bridge.serve_next()
    except ChannelLost:
        os._exit(0)
