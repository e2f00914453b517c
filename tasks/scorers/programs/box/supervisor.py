"""The supervisor: runs a benchmark's tests and alone decides the verdict. Runs inside the box as user `grader`.

The program under test answers from another process of another user. Frames to the runner begin with an address: `W` is
passed on to the worker, `R` says that grading begins, `V` carries the verdict with the nonce that came with the
configuration.
"""

from __future__ import annotations

import builtins
import fcntl
import importlib.machinery
import json
import os
import resource
import sys
import threading
import types
from collections.abc import Sequence
from typing import Any

from agentlab.tasks.scorers.programs.box.awaiting import Tasks
from agentlab.tasks.scorers.programs.box.bridge import CALLS, Bridge, proxy_module
from agentlab.tasks.scorers.programs.box.proxies import BINARY, UNARY, is_remote
from agentlab.tasks.scorers.programs.box.report import Report, run_module
from agentlab.tasks.scorers.programs.box.wire import Channel, ChannelLost

MEMORY = 400 << 20
THREAD_STACK = 2 << 20
NEVER_LEAVE = (types.ModuleType, types.FrameType, types.CodeType, types.TracebackType, Bridge, Channel, Tasks)
MOCK_CONTROLS = frozenset(["configure_mock", "attach_mock", "reset_mock", "mock_add_spec"])
READ_ONLY = UNARY - {"__setitem__", "__delitem__", "__dir__"}
SHARED_BUILTINS = ("print", "input", "open")
"""Functions that a test replaces for the program too: in one process the two would share `builtins`."""
AWAITING = frozenset(["settled", "outcome", "cancel"])


class SupervisorBridge(Bridge):
    """The tests' side: the program may use what a test hands to it, and reach nothing else from there."""

    tells_causes = False

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self.failed_callback: AssertionError | None = None
        """An assertion of the tests' own that failed inside a callback: the program may swallow it, the verdict not."""
        self._tasks = Tasks(own_loop=False)
        self._stdout, self._captured = sys.stdout, False
        self._builtins = {name: getattr(builtins, name) for name in SHARED_BUILTINS}
        self._shared = dict(self._builtins)

    def ask(self, op: str, *args: Any) -> Any:
        if self._captured != (sys.stdout is not self._stdout):
            self._captured = not self._captured
            super().ask("capture", self._captured)
        for name, told in self._shared.items():
            if told is not (now := getattr(builtins, name)):
                self._shared[name] = now
                super().ask("builtin", name, None if now is self._builtins[name] else now)
        return super().ask(op, *args)

    def serve_operation(self, op: Any, packed: list[Any], args: list[Any]) -> Any:
        if op in AWAITING and type(args[0]) is int:
            return getattr(self._tasks, op)(args[0])
        if op == "print" and self._captured:
            return sys.stdout.write(str(args[0]))
        value, rest = self._asked_about(packed[0], args[0]), args[1:]
        if op in ("get", "method"):
            value, rest = _attribute(value, rest[0]), rest[1:]
        if op == "get":
            return value
        if op in CALLS:
            positional, named = rest
            return value(*positional, **named)
        if op == "special":
            name, operands = rest
            between = name in BINARY and _are_handles(packed[2])
            if name not in READ_ONLY and not between:
                raise AttributeError("this operation on a test's object is out of reach")
            return iter(value) if name == "__iter__" else getattr(value, name)(*operands)
        if op == "await":
            return self._tasks.begin(value)
        raise AttributeError("a test's object cannot be changed by the program")

    def _asked_about(self, packed: Any, value: Any) -> Any:
        """The object of a request; AttributeError for one that no test handed over."""
        if not _is_handle(packed):
            # A text of the program's own has methods too: `format` would read any attribute of what it is given.
            raise AttributeError("this is no object of the tests")
        if isinstance(value, type) and not self.was_handed(value):
            raise AttributeError("this class was not handed to the program")
        return value

    def observe(self, error: BaseException) -> None:
        if isinstance(error, AssertionError) and not getattr(error, "_bridge_remote_", False):
            self.failed_callback = error

    def leaving(self, value: Any) -> Any:
        if isinstance(value, NEVER_LEAVE) or _is_loop(value):
            raise TypeError(f"a {type(value).__name__} of the tests cannot be handed to the program")
        return list(value) if _holds_calls(value) else value

    def module(self, name: str, number: Any) -> types.ModuleType:
        """The module that the worker holds under `number`."""
        if type(number) is not int:
            raise self.channel.fail("the program sent no module")
        return proxy_module(self, name, number)


def _attribute(value: Any, name: Any) -> Any:
    if type(name) is not str or name.startswith("_") or name in MOCK_CONTROLS:
        raise AttributeError("this attribute of a test's object is out of reach")
    return getattr(value, name)


def _is_handle(packed: Any) -> bool:
    return type(packed) is list and packed[:1] == ["o"]


def _are_handles(packed: Any) -> bool:
    """Whether a tuple of operands holds nothing but objects of the tests."""
    return type(packed) is list and packed[:1] == ["t"] and all(map(_is_handle, packed[1:]))


def _holds_calls(value: Any) -> bool:
    """Whether a value is a mock's own list of the calls it has seen: the program may read those, not forget them."""
    mock = sys.modules.get("unittest.mock")
    return mock is not None and isinstance(value, mock._CallList)


def _is_loop(value: Any) -> bool:
    """Whether a value is an event loop, which starts processes for whoever has it."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(value, asyncio.AbstractEventLoop)


class CandidateModules:
    """Imports the candidate's modules from the worker; every other name is looked up as usual."""

    def __init__(self, bridge: SupervisorBridge, names: Sequence[str]) -> None:
        self.bridge = bridge
        self.names = frozenset(names)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in self.names:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # a loader by its methods: importlib.abc is slow to import

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        try:
            number = self.bridge.ask("import", spec.name)
        except (
            ModuleNotFoundError
        ) as error:  # with the name that the import system looks for in `from package import x`
            raise ModuleNotFoundError(str(error), name=spec.name) from None
        return self.bridge.module(spec.name, number)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is left to run: the module lives in the worker."""


def run_program(config: dict[str, Any], bridge: SupervisorBridge, report: Report) -> None:
    """Load the candidate's `sources`, run `setup`, bind names to the candidate's functions, run each of `checks`."""
    checks = config["checks"]
    if any("unittest" in source for source in [*config["setup"], *(source for _, source in checks)]):
        _guard_set_comparison()
    report.expect([name for name, _ in checks])
    program = bridge.module("program", bridge.ask("load", "program", config["sources"]))
    scope: dict[str, Any] = {"__name__": "tests"}
    for source in config["setup"]:
        exec(compile(source, "<setup>", "exec"), scope)  # noqa: S102 - the benchmark's code
    for name, attribute in config["bind"].items():
        try:
            scope[name] = getattr(program, attribute)
        except AttributeError:
            report.fail_all(f"the program defines no {attribute}")
            return
    for name, source in checks:
        code = compile(source, f"<{name}>", "exec")
        report.run(name, lambda code=code: exec(code, scope))  # type: ignore[misc]  # noqa: S102


def run_repository(config: dict[str, Any], bridge: SupervisorBridge, report: Report) -> None:
    """Lay the test files out here and run them, the candidate's modules being imported from the worker."""
    for path, text in config["files"].items():
        folder = os.path.dirname(path)  # noqa: PTH120 - pathlib would cost a tenth of the grading time
        if folder:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
    if any("unittest" in text for text in config["files"].values()):
        _guard_set_comparison()
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    sys.dont_write_bytecode = True
    sys.meta_path.insert(0, CandidateModules(bridge, config["modules"]))
    for name in config["tests"]:
        run_module(name, report, lambda: _mirror_random_seed(bridge))


def _guard_set_comparison() -> None:
    """Have `assertSetEqual` compare with `==`: it calls `difference` of what it is given, with what is expected."""
    from unittest import TestCase  # slow to import, and most benchmarks do without

    between_values = TestCase.assertSetEqual

    def assert_set_equal(self: Any, set1: Any, set2: Any, msg: Any = None) -> None:
        if not is_remote(set1) and not is_remote(set2):
            between_values(self, set1, set2, msg)
        elif not set1 == set2:  # noqa: SIM201 - what the test asks is whether they are equal
            raise self.failureException(msg or "the sets differ")

    TestCase.assertSetEqual = assert_set_equal  # type: ignore[method-assign]


def _mirror_random_seed(bridge: SupervisorBridge) -> None:
    random = sys.modules.get("random")
    if random is None or hasattr(random.seed, "mirrored"):
        return
    seed_here = random.seed

    def seed(*args: Any) -> None:
        seed_here(*args)
        bridge.ask("seed", args)

    seed.mirrored = True  # type: ignore[attr-defined]
    random.seed = seed  # type: ignore[attr-defined]


def main(config: dict[str, Any]) -> None:
    """Grade once and leave. `config`: `nonce`, `kind` (`program` or `repository`) and what that kind needs."""
    reader = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 100)
    writer = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 100)
    os.dup2(2, 1)  # what tests print is no frame
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))  # the address space would bound a test's threads to two
    threading.stack_size(THREAD_STACK)
    channel = Channel(reader, writer, b"W")
    channel.send_raw(b"R", b"")
    bridge = SupervisorBridge(channel)
    report = Report(bridge)
    try:
        if channel.receive() != ["ready"]:
            raise channel.fail("the worker did not start")
        run = run_program if config["kind"] == "program" else run_repository
        run(config, bridge, report)
    except ChannelLost:
        pass
    except BaseException as error:  # noqa: BLE001 - the verdict must be given whatever happened
        report.fail_all(report.describe(error))
    verdict = {"nonce": config["nonce"], "lost": channel.lost, **report.summary()}
    channel.send_raw(b"V", json.dumps(verdict).encode())
    os._exit(0)
