"""Finding tasks and suites by name: in the package, in entry points, in any Python file. What is broken is reported and
harms nothing else.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeAlias
from zlib import crc32

from agentlab.tasks.definitions import TaskDefinition, check_task, definitions_in
from agentlab.tasks.suites import ResolvedSuite
from agentlab.tasks.types import Suite, Task, TaskError

ENTRY_POINTS = "agentlab.tasks"
_OWN_FILES = frozenset((__file__, importlib.__file__, pkgutil.__file__))

ProblemKind: TypeAlias = Literal["unknown", "import", "duplicate", "invalid"]
Entry: TypeAlias = "TaskDefinition | Suite"


@dataclass(frozen=True, slots=True)
class TaskProblem:
    """Why a name cannot be run. Kinds: `unknown` (no such name), `import` (its file raises), `duplicate`, `invalid`."""

    name: str
    kind: ProblemKind
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


@dataclass(frozen=True, slots=True)
class Resolution:
    """What names stand for: tasks to run (each once), the suites among them, and what could not be had."""

    tasks: tuple[Task, ...]
    suites: tuple[ResolvedSuite, ...]
    errors: tuple[TaskProblem, ...]


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """A line of `tasks list`."""

    name: str
    kind: Literal["task", "suite"]
    description: str
    group: str
    """The module that declares it, for headings."""
    requires: tuple[str, ...] = ()
    licence: str = ""
    origin: str = ""
    variants: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


@dataclass
class Catalog:
    """Names and what they stand for. The first declaration of a name holds, a second one is a problem."""

    entries: dict[str, Entry] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    problems: list[TaskProblem] = field(default_factory=list)

    def add(self, entry: Entry, group: str, where: str) -> None:
        held = self.entries.setdefault(entry.name, entry)
        if held is entry:
            self.groups[entry.name] = group
            return
        first = held.origin if isinstance(held, TaskDefinition) else self.groups[entry.name]
        self.problems.append(
            TaskProblem(entry.name, "duplicate", f"{entry.name!r} is already declared by {first}", where)
        )

    def add_module(self, module: ModuleType, group: str) -> None:
        for entry in definitions_in(vars(module), module.__name__):
            self.add(entry, group, getattr(module, "__file__", None) or module.__name__)

    def nearest(self, name: str) -> str:
        """The known name most like `name`, or an empty text."""
        head = name.partition(":")[0]
        lowered = {entry.lower(): entry for entry in self.entries}
        found = difflib.get_close_matches(head.lower(), lowered, n=1, cutoff=0.5)
        return lowered[found[0]] if found else ""


def discover(*, plugins: bool = True) -> Catalog:
    """Everything that can be run by name: built-in tasks, then those of entry points. Broken ones are in `problems`."""
    catalog = Catalog()
    package = importlib.import_module("agentlab.tasks.builtin")
    for module_name in _modules(package):
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # noqa: BLE001  a module's import may raise anything; it is reported by name, the rest goes on
            catalog.problems.append(_import_problem(module_name.rpartition(".")[2], error, module_name))
            continue
        catalog.add_module(module, module_name.removeprefix("agentlab.tasks.builtin.").partition(".")[0])
    if plugins:
        _add_plugins(catalog)
    return catalog


def _modules(package: ModuleType) -> Iterator[str]:
    """Modules of the package and of its direct sub-packages' `__init__`; names with `_` hold no tasks."""
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not info.name.rpartition(".")[2].startswith("_"):
            yield info.name


def _add_plugins(catalog: Catalog) -> None:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        owner = point.dist.name if point.dist else point.value
        where = f"{point.name} = {point.value} (entry point of {owner})"
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001  another's plug-in may raise anything; it is reported, the rest goes on
            catalog.problems.append(_import_problem(point.name, error, where))
            continue
        if isinstance(loaded, ModuleType):
            catalog.add_module(loaded, owner)
        elif isinstance(loaded, TaskDefinition | Suite):
            catalog.add(loaded, owner, where)
        else:
            message = f"a module, a @task or a Suite was expected, not {type(loaded).__name__}"
            catalog.problems.append(TaskProblem(point.name, "invalid", message, where))


class _AsItIsNow(SourceFileLoader):
    """Compiles a file each time: Python's own cache takes one that was changed within a second, to the same length,
    for unchanged.
    """

    def path_stats(self, path: str) -> Any:
        raise OSError("no compiled file is looked for")


def load_file(path: Path) -> Catalog:
    """Tasks and suites of a Python file, which is the user's own code and runs as such."""
    catalog = Catalog()
    resolved = path.resolve()
    if not resolved.is_file():
        catalog.problems.append(TaskProblem(str(path), "unknown", "no such task file", str(path)))
        return catalog
    name = f"agentlab_task_file_{resolved.stem}_{crc32(str(resolved).encode()):08x}"
    loader = _AsItIsNow(name, str(resolved))
    spec = importlib.util.spec_from_file_location(name, resolved, loader=loader)
    if spec is None or resolved.suffix != ".py":
        catalog.problems.append(TaskProblem(str(path), "invalid", "not a Python file", str(path)))
        return catalog
    folder = str(resolved.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # its neighbours can be imported, and can shadow nothing
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a module up by its name
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001  a user's file may raise anything; it becomes that task's problem
        del sys.modules[name]
        catalog.problems.append(_import_problem(str(path), error, str(path), file=str(resolved)))
        return catalog
    catalog.add_module(module, str(path))
    return catalog


def _import_problem(name: str, error: BaseException, where: str, *, file: str = "") -> TaskProblem:
    """The problem with the line that raised: of `file` if it is in the traceback, for a syntax error the unreadable
    line.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return TaskProblem(name, "import", f"SyntaxError: {error.msg}", f"{error.filename}:{error.lineno}")
    return TaskProblem(name, "import", f"raises at import: {_said(error)}", _place(error, file) or where)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else repr(error)


def _place(error: BaseException, file: str) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in _OWN_FILES and not frame.filename.startswith("<frozen")
    ]
    own = [frame for frame in frames if frame.filename == file] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def resolve(names: Sequence[str], catalog: Catalog | None = None) -> Resolution:
    """Tasks and suites by name. A name is `TASK`, `SUITE`, `FILE.py` (all its tasks) or `FILE.py::NAME`, each task
    with variants behind colons (`humaneval:3shot`, `arc:mc`, `mytask:level=2`). Problems never raise; an unknown name
    comes with the nearest known one.
    """
    resolver = _Resolver(catalog)
    for name in dict.fromkeys(names):
        resolver.take(name)
    return resolver.resolution()


class _Resolver:
    def __init__(self, catalog: Catalog | None) -> None:
        self._catalog = catalog
        self._files: dict[Path, Catalog] = {}
        self._tasks: dict[str, Task] = {}
        self._suites: dict[str, ResolvedSuite] = {}
        self._problems: list[TaskProblem] = []

    @property
    def catalog(self) -> Catalog:
        if self._catalog is None:
            self._catalog = discovered()
        return self._catalog

    def resolution(self) -> Resolution:
        return Resolution(
            tuple(self._tasks.values()), tuple(self._suites.values()), tuple(dict.fromkeys(self._problems))
        )

    def take(self, name: str) -> None:
        path, member = split_file(name)
        if path is None:
            folder = self._folder(name)
            if folder is None:
                self._take_entry(name, [self.catalog])
            else:
                self._take_folder(name, folder)
            return
        held = self._file(path)
        self._problems += held.problems
        if member:
            if not any(problem.kind in ("import", "unknown") for problem in held.problems):
                self._take_entry(member, [held], shown=name)
            return
        if not held.entries and not held.problems:
            self._problem(name, "invalid", "declares no task: decorate a function with @task", str(path))
        for entry in held.entries:
            self._take_entry(entry, [held])

    def _folder(self, name: str) -> Path | None:
        """The folder of other people's tasks that is meant. A name that is also that of a task means the task: `./NAME`
        says that the folder is meant.
        """
        path = Path(name)
        if "/" not in name and name not in (".", "..") and (not path.is_dir() or name in self.catalog.entries):
            return None
        return path

    def _take_folder(self, name: str, folder: Path) -> None:
        from agentlab.tasks.harbor import import_tasks, looks_like_tasks

        if not folder.is_dir():
            self._problem(name, "unknown", "there is no such folder, file or task", str(folder))
            return
        if not looks_like_tasks(folder):
            message = "this folder is no task in Harbor's format and holds none: there is no task.toml"
            self._problem(name, "unknown", message, str(folder))
            return
        try:
            task = import_tasks(folder)
            check_task(task)
        except TaskError as error:
            self._problem(name, "invalid", error.reason, error.where)
            return
        held = self._tasks.setdefault(task.name, task)
        if held.origin != task.origin:
            self._problem(name, "duplicate", f"{task.name!r} is also the name of a task in {held.origin}", task.origin)

    def _file(self, path: Path) -> Catalog:
        if path not in self._files:
            self._files[path] = load_file(path)
        return self._files[path]

    def _take_entry(self, name: str, scopes: list[Catalog], shown: str = "") -> None:
        entry, variant, scope = _look_up(name, scopes)
        if entry is None:
            self._unknown(shown or name, name, scopes)
        elif isinstance(entry, TaskDefinition):
            self._take_task(entry, variant, shown or name)
        elif variant:
            self._problem(shown or name, "unknown", f"{entry.name} is a suite and has no variant {variant!r}", "")
        else:
            self._suites[entry.name] = self._expand(entry, scope, ())

    def _take_task(self, definition: TaskDefinition, variant: str, shown: str) -> str:
        """The name under which the task will run; empty where it cannot be made."""
        try:
            task = definition.build(variant)
        except TaskError as error:
            self._problem(shown, "invalid", error.reason, error.where)
            return ""
        except Exception as error:  # noqa: BLE001  a task's function may raise anything; it becomes that task's problem
            where = _place(error, definition.origin.rpartition(":")[0]) or definition.origin
            self._problem(shown, "invalid", f"{definition.name}() raises {_said(error)}", where)
            return ""
        held = self._tasks.setdefault(task.name, task)
        if held.origin != task.origin:
            self._problem(shown, "duplicate", f"{task.name!r} is also the name of a task in {held.origin}", task.origin)
            return ""
        return task.name

    def _expand(self, suite: Suite, scope: Catalog, above: tuple[str, ...]) -> ResolvedSuite:
        members: list[str | ResolvedSuite] = []
        failed: list[str] = []
        for name in dict.fromkeys(suite.tasks):
            member = self._member(name, suite, scope, (*above, suite.name))
            if member:
                members.append(member)
            else:
                failed.append(name)
        return ResolvedSuite(suite, tuple(members), tuple(failed))

    def _member(self, name: str, suite: Suite, scope: Catalog, above: tuple[str, ...]) -> str | ResolvedSuite | None:
        scopes = [scope] if scope is self._catalog else [scope, self.catalog]
        entry, variant, found = _look_up(name, scopes)
        if entry is None:
            self._unknown(name, name, scopes, f" (in suite {suite.name})")
            return None
        if isinstance(entry, TaskDefinition):
            return self._take_task(entry, variant, name) or None
        if entry.name in above:
            self._problem(suite.name, "invalid", f"suites contain each other: {' > '.join((*above, entry.name))}", "")
            return None
        return self._expand(entry, found, above)

    def _unknown(self, shown: str, name: str, scopes: list[Catalog], context: str = "") -> None:
        near = next((near for scope in scopes if (near := scope.nearest(name))), "")
        hint = f"; did you mean {near!r}?" if near else "; `agentlab tasks list` shows all"
        if "," in name:
            hint = "; several tasks are separated by spaces"
        if "::" in shown:
            # `tasks list` knows nothing of a file, so what the file holds is told here.
            held = ", ".join(entry for scope in scopes for entry in scope.entries) or "no task"
            hint = f"; {shown.partition('::')[0]} holds {held}"
            hint += f"; did you mean {near!r}?" if near else ""
        broken = next((p for scope in scopes for p in scope.problems if p.name == name), None)
        if broken is not None:
            self._problem(shown, broken.kind, broken.message, broken.where)
        else:
            self._problem(shown, "unknown", f"unknown task {shown!r}{context}{hint}", "")

    def _problem(self, name: str, kind: ProblemKind, message: str, where: str) -> None:
        self._problems.append(TaskProblem(name, kind, message, where))


def _look_up(name: str, scopes: Iterable[Catalog]) -> tuple[Entry | None, str, Catalog]:
    head, _, variant = name.partition(":")
    last = Catalog()
    for scope in scopes:
        last = scope
        if head in scope.entries:
            return scope.entries[head], variant, scope
    return None, variant, last


def split_file(name: str) -> tuple[Path | None, str]:
    """`FILE.py::NAME` as (path, name), `FILE.py` as (path, ""), anything else as (None, name)."""
    path, _, member = name.partition("::")
    return (Path(path), member) if path.endswith(".py") else (None, name)


@lru_cache(maxsize=1)
def discovered() -> Catalog:
    """What `discover` finds, looked for once a process."""
    return discover()


def list_tasks(catalog: Catalog | None = None) -> list[TaskInfo]:
    """Every task and suite by group, with what a user wants to know before running it. Tasks that cannot be made are
    left out and shown by `resolve`.
    """
    held = catalog if catalog is not None else discovered()
    found: list[TaskInfo] = []
    for name, entry in held.entries.items():
        group = held.groups.get(name, "")
        if isinstance(entry, Suite):
            found.append(TaskInfo(name, "suite", entry.description, group, members=entry.tasks))
            continue
        made = resolve([name], held).tasks
        if made:
            found.append(_info(entry, made[0], group))
    return sorted(found, key=lambda info: (info.kind, info.group, info.name))


def _info(definition: TaskDefinition, made: Task, group: str) -> TaskInfo:
    needed = {*made.requires, *(capability for scorer in made.scorers for capability in scorer.requires)}
    return TaskInfo(
        made.name,
        "task",
        made.description,
        group,
        tuple(sorted(needed)),
        made.licence,
        made.origin,
        tuple(definition.variants),
    )
