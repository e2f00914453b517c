"""Counts tests. Runs inside the box, standard library only.

The number of tests is taken before any of them runs, and a test counts as passed only when it was started by this file
and ended here without an exception: nothing that a program raises or prints makes a test pass, skip or vanish.
"""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable
from typing import Any, Protocol

MAX_TEXT = 500
MAX_FAILURES = 50


class Callbacks(Protocol):
    """Where a failed assertion inside a callback is noted."""

    failed_callback: AssertionError | None


class Report:
    """What was expected, what passed, and why the rest failed."""

    def __init__(self, callbacks: Callbacks) -> None:
        self.expected: list[str] = []
        self.passed: set[str] = set()
        self.failures: list[tuple[str, str]] = []
        self._callbacks = callbacks

    def expect(self, names: list[str]) -> None:
        """Announce tests; each counts as failed until it passed."""
        self.expected.extend(names)

    def run(self, name: str, test: Callable[[], Any]) -> None:
        """Run one announced test."""
        self._callbacks.failed_callback = None
        try:
            _carry_out(test())
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like are failures too
            self.fail(name, self.describe(error))
        else:
            self.end(name)

    def end(self, name: str) -> None:
        """An announced test came to its end without an exception."""
        error, self._callbacks.failed_callback = self._callbacks.failed_callback, None
        if error is not None:
            self.fail(name, "an assertion failed inside a callback: " + self.describe(error))
        elif name in self.expected:
            self.passed.add(name)

    def fail(self, name: str, reason: str) -> None:
        """A test failed, or something that belongs to no announced test (the tear-down of a class)."""
        if name not in self.expected:
            self.expected.append(name)
        self._callbacks.failed_callback = None
        self.passed.discard(name)
        self.failures.append((name[:MAX_TEXT], reason[:MAX_TEXT]))

    def fail_all(self, reason: str) -> None:
        """Nothing passed."""
        self.passed.clear()
        self.failures.insert(0, ("", reason[:MAX_TEXT]))

    @staticmethod
    def describe(error: BaseException) -> str:
        """One line on an exception; its text may be the program's."""
        try:
            text = str(error)
        except Exception:  # noqa: BLE001 - an exception that cannot be read is still reported by its type
            text = ""
        return f"{type(error).__name__}: {text[:MAX_TEXT]}" if text else type(error).__name__

    def summary(self) -> dict[str, Any]:
        """Numbers and the first failures, for the verdict."""
        return {"total": len(self.expected), "passed": len(self.passed), "failures": self.failures[:MAX_FAILURES]}


def _carry_out(result: Any) -> None:
    """Run what a test only returned: an `async def` has done nothing yet when it is called, nor has a generator."""
    if isinstance(result, types.CoroutineType):
        import asyncio  # slow to import, and few tests are coroutines

        asyncio.run(result)
    elif isinstance(result, types.GeneratorType | types.AsyncGeneratorType):
        raise TypeError("a test that yields is not carried out")


def run_module(name: str, report: Report, before: Callable[[], None]) -> None:
    """Import a test module and run its `unittest` classes, plain test functions and plain test classes."""
    import unittest

    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001 - also what the candidate's module raised when it was imported
        report.expect([name])
        report.fail(name, report.describe(error))
        return
    before()
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    plain = list(_plain_tests(module, unittest.TestCase))
    cases = {case.id(): case for case in _cases(suite)}
    ready = {key: case for key, case in cases.items() if not _skipped(case)}
    report.expect([*ready, *[key for key, _ in plain]])
    suite.run(_result(report))
    for key, test in plain:
        report.run(key, test)


def _cases(suite: Any) -> list[Any]:
    return [case for part in suite for case in (_cases(part) if hasattr(part, "__iter__") else [part])]


def _skipped(case: Any) -> bool:
    """Whether the dataset itself skips a test, by a decorator. A skip while running is a failure."""
    method = getattr(case, getattr(case, "_testMethodName", ""), None)
    return bool(getattr(type(case), "__unittest_skip__", False) or getattr(method, "__unittest_skip__", False))


def _plain_tests(module: types.ModuleType, case_class: type) -> list[tuple[str, Callable[[], Any]]]:
    found: list[tuple[str, Callable[[], Any]]] = []
    for name, value in vars(module).items():
        if isinstance(value, types.FunctionType) and name.startswith("test"):
            found.append((f"{module.__name__}.{name}", value))
        elif type(value) is type and name.startswith("Test") and not issubclass(value, case_class):
            found += [
                (f"{module.__name__}.{name}.{attribute}", _bound(value, attribute))
                for attribute in vars(value)
                if attribute.startswith("test")
            ]
    return found


def _bound(cls: type, attribute: str) -> Callable[[], Any]:
    def test() -> Any:
        instance = cls()
        getattr(instance, "setup_method", lambda *_: None)(getattr(instance, attribute))
        return getattr(instance, attribute)()

    return test


def _result(report: Report) -> Any:
    import unittest

    class Result(unittest.TestResult):
        def addSuccess(self, test: Any) -> None:  # noqa: N802
            report.end(test.id())

        def addError(self, test: Any, err: Any) -> None:  # noqa: N802
            report.fail(test.id(), report.describe(err[1]))

        addFailure = addError  # noqa: N815

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: N802
            if err is not None:
                report.fail(test.id(), report.describe(err[1]))

        def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
            if test.id() in report.expected:
                report.fail(test.id(), "skipped while running")

        def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
            report.fail(test.id(), "passed, but is expected to fail")

        def addExpectedFailure(self, test: Any, err: Any) -> None:  # noqa: N802
            report.end(test.id())

    return Result()
