"""`@task` and `@suite`: how a function in a file becomes something that can be run by name, and its variants."""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, get_args, overload

from agentlab.sandboxes.protocol import Capability
from agentlab.tasks.data.combined import beside
from agentlab.tasks.external import ExternalEval
from agentlab.tasks.types import SafetyKind, Sample, Scorer, Suite, Task, TaskError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_SHOTS = re.compile(r"(\d{1,3})shots?")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}
_TASK_FIELDS = frozenset(f.name for f in dataclasses.fields(Task))

TaskFunction: TypeAlias = Callable[..., Task]


@dataclass(frozen=True)
class TaskDefinition:
    """A task by name: the function that makes it, its named variants, and the file that declares it."""

    name: str
    function: TaskFunction
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, **arguments: Any) -> Task:
        return self.build(arguments=arguments)

    @property
    def module(self) -> str:
        return self.function.__module__

    @property
    def origin(self) -> str:
        """`file:line` of the function."""
        code = inspect.unwrap(self.function).__code__
        return f"{code.co_filename}:{code.co_firstlineno}"

    @property
    def description(self) -> str:
        """First paragraph of the function's docstring."""
        return " ".join((inspect.getdoc(self.function) or "").split("\n\n")[0].split())

    def build(self, variant: str = "", *, arguments: Mapping[str, Any] | None = None) -> Task:
        """The task, with `variant` (`3shot`, `mc`, `key=value`, several joined by `:`) applied.

        Raises TaskError; also for a ValueError of the function where parameters were typed, which it must be about.
        """
        specs = [spec for spec in variant.split(":") if spec]
        chosen: dict[str, Any] = dict(arguments or {})
        shots: int | None = None
        for spec in specs:
            matched = _SHOTS.fullmatch(spec)
            if spec in self.variants:
                chosen.update(self.variants[spec])
            elif "=" in spec:
                key, _, text = spec.partition("=")
                chosen[key] = self._argument(key, text)
            elif matched:
                shots = int(matched[1])
            else:
                raise self._unknown(spec)
        return self._finish(chosen, shots, ":".join([self.name, *specs]))

    def _finish(self, chosen: dict[str, Any], shots: int | None, name: str) -> Task:
        parameters = inspect.signature(self.function).parameters
        if shots is not None and "shots" in parameters:
            chosen["shots"], shots = shots, None
        overrides = {key: value for key, value in chosen.items() if key not in parameters}
        if unknown := sorted(overrides.keys() - _TASK_FIELDS):
            raise TaskError(
                f"{name}: neither a parameter nor a field of the task: {', '.join(unknown)}", where=self.origin
            )
        try:
            made = self.function(**{key: value for key, value in chosen.items() if key in parameters})
        except ValueError as error:
            if "=" not in name:
                raise
            raise TaskError(f"{name}: {error}") from error
        if not isinstance(made, Task):
            raise TaskError(f"{self.name}() must return a Task, got {type(made).__name__}", where=self.origin)
        made = dataclasses.replace(made, **overrides) if overrides else made
        if shots is not None:
            made = self._with_shots(made, shots, name)
        return self._named(made, name)

    def _named(self, made: Task, name: str) -> Task:
        samples = tuple(made.samples) if made.samples is not None else None
        folder = Path(self.origin.rpartition(":")[0]).parent
        fewshot = made.fewshot
        made = dataclasses.replace(
            made,
            name=name,
            description=made.description or self.description,
            origin=made.origin or self.origin,
            samples=samples,
            requires=made.requires if _is_text(made.requires) else tuple(made.requires),
            safety=made.safety if _is_text(made.safety) else tuple(made.safety),
            scorers=made.scorers if _is_one(made.scorers) else tuple(made.scorers),
            metrics=tuple(made.metrics),
            source=None if made.source is None else beside(made.source, folder),
            fewshot=None if fewshot is None else dataclasses.replace(fewshot, source=beside(fewshot.source, folder)),
        )
        check_task(made)
        return made

    def _with_shots(self, made: Task, shots: int, name: str) -> Task:
        if made.fewshot is None:
            raise TaskError(f"{name}: {self.name} declares no few-shot examples")
        return dataclasses.replace(made, fewshot=dataclasses.replace(made.fewshot, n=shots))

    def _argument(self, key: str, text: str) -> Any:
        """`text` as the parameter's type says: its default's type, else as YAML would read a scalar."""
        parameter = inspect.signature(self.function).parameters.get(key)
        if parameter is None:
            raise TaskError(f"{self.name} has no parameter {key!r}{_names('; it has', self.parameters).rstrip('.')}")
        if isinstance(parameter.default, str):
            return text
        import yaml

        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            value = text
        if isinstance(value, dt.date):
            value = text  # a revision that looks like a date is what was typed
        default = parameter.default
        wanted = type(default) if isinstance(default, bool | int | float) else None
        if wanted is float and type(value) is int:
            return float(value)
        if wanted is not None and type(value) is not wanted:
            raise TaskError(f"{self.name}: {key} must be {_KINDS[wanted]}, not {text!r}")
        return value

    @property
    def parameters(self) -> tuple[str, ...]:
        """What `name:key=value` may set."""
        return tuple(inspect.signature(self.function).parameters)

    def _unknown(self, spec: str) -> TaskError:
        known = _names(" Named variants", self.variants) + _names(" Parameters", self.parameters)
        return TaskError(f"{self.name} has no variant {spec!r}.{known} Few-shot: Nshot")


def _names(label: str, names: Mapping[str, Any] | tuple[str, ...]) -> str:
    return f"{label}: {', '.join(names)}." if names else ""


def _is_text(value: object) -> bool:
    """One name where several were asked for: types forbid it, task files are not always checked."""
    return isinstance(value, str)


def _is_one(value: object) -> bool:
    """A scorer or a function where several were asked for, likewise."""
    return isinstance(value, Scorer) or callable(value)


def check_task(made: Task) -> None:
    """Raise TaskError for a task that could not run whatever its data."""
    problem = ""
    if made.samples is None and made.source is None:
        problem = "give it samples or a source"
    elif made.samples is not None and made.source is not None:
        problem = "give it samples or a source, not both"
    elif _is_one(made.scorers):
        problem = "scorers must be several: scorers=[...]"
    elif not made.scorers and not isinstance(made, ExternalEval):
        problem = "it has no scorer"
    elif wrong := next((each for each in made.scorers if not isinstance(each, Scorer)), None):
        problem = f"{getattr(wrong, '__name__', wrong)!s:.80} is no Scorer{_scorer_instead(wrong)}"
    elif made.samples is not None and not all(isinstance(sample, Sample) for sample in made.samples):
        problem = "samples must all be Sample"
    elif "{input}" not in made.prompt:
        problem = "the prompt template must hold {input}"
    elif _is_text(made.requires):
        problem = f"requires must be several names: ({made.requires!r},)"
    elif unknown := _unknown_capability(made):
        problem = f"requires the unknown capability {unknown!r}; there are {', '.join(sorted(get_args(Capability)))}"
    elif _is_text(made.safety):
        problem = f"safety must be several names: ({made.safety!r},)"
    elif unknown := next((kind for kind in made.safety if kind not in get_args(SafetyKind)), ""):
        problem = f"safety asks for the unknown labels {unknown!r}; there are {', '.join(get_args(SafetyKind))}"
    elif made.fewshot is not None and made.fewshot.n < 0:
        problem = "few-shot examples cannot be fewer than none"
    if problem:
        raise TaskError(f"task {made.name!r}: {problem}", where=made.origin)


def _scorer_instead(wrong: object) -> str:
    """What to write in the place of a function: a call of one that makes a Scorer, a Scorer around one that grades."""
    name = getattr(wrong, "__name__", "")
    if not callable(wrong) or not name.isidentifier():
        return ": say scorers=[exact()], or scorers=[Scorer(name=..., grade=...)]"
    makes = getattr(wrong, "__annotations__", {}).get("return") in (Scorer, "Scorer")
    return f": say scorers=[{name}()]" if makes else f": say scorers=[Scorer(name={name!r}, grade={name})]"


def _unknown_capability(made: Task) -> str:
    """The first of what the agent or a scorer requires that no sandbox could offer; empty where there is none."""
    required = (*made.requires, *(name for scorer in made.scorers for name in scorer.requires))
    return next((str(name) for name in required if name not in get_args(Capability)), "")


@overload
def task(function: TaskFunction, /) -> TaskDefinition: ...
@overload
def task(
    *, name: str = "", variants: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[TaskFunction], TaskDefinition]: ...
def task(
    function: TaskFunction | None = None,
    /,
    *,
    name: str = "",
    variants: Mapping[str, Mapping[str, Any]] | None = None,
) -> TaskDefinition | Callable[[TaskFunction], TaskDefinition]:
    """Make a function that returns a Task runnable by name (the function's, unless `name` is given).

    `variants` maps a variant's name to what it sets: parameters of the function, or fields of the task.

    Example: `@task(variants={"raw": {"prompt_mode": "raw"}})` allows `agentlab run arithmetic:raw`.
    """

    def define(made: TaskFunction) -> TaskDefinition:
        chosen = name or made.__name__
        if not NAME.fullmatch(chosen):
            raise TaskError(f"{chosen!r} is no name for a task: letters, digits, '_', '.' and '-'")
        return TaskDefinition(chosen, made, dict(variants or {}))

    return define if function is None else define(function)


def suite(function: Callable[[], Suite]) -> Suite:
    """A suite as a function: called at once, its name and description taken from the function where empty."""
    made = function()
    description = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
    return dataclasses.replace(made, name=made.name or function.__name__, description=made.description or description)


def definitions_in(namespace: Mapping[str, Any], module: str) -> Iterator[TaskDefinition | Suite]:
    """Tasks and suites that a module declares: those of others that it imported are left out."""
    seen: set[int] = set()
    for value in namespace.values():
        own = isinstance(value, Suite) or (isinstance(value, TaskDefinition) and value.module == module)
        if own and id(value) not in seen:
            seen.add(id(value))
            yield value
