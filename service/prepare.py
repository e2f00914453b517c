"""From names to a plan: tasks resolved and surveyed, every sample routed, nothing started."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from agentlab.models.tools import Tool, get_tool
from agentlab.scaffolds import BOX_RESOURCES, box_tool
from agentlab.service.config import RunConfig, config_hash, config_identity, effective_sampling
from agentlab.service.harness import ConfigError, Harness
from agentlab.service.planner import EXTERNAL, Lane, Planner, Refusal, Route, lane_of
from agentlab.service.raised import place_in
from agentlab.service.runner import PlannedTask
from agentlab.tasks.identity import Survey, survey
from agentlab.tasks.prompting import load_fewshot
from agentlab.tasks.registry import resolve, split_file
from agentlab.tasks.types import Scorer, Task, TaskError, Terms

if TYPE_CHECKING:
    from agentlab.sandboxes.protocol import BoxSpec, ImageBuild
    from agentlab.sandboxes.room import Room
    from agentlab.tasks.suites import ResolvedSuite


@dataclass(frozen=True, slots=True)
class Problem:
    """A task that could not be loaded beside others that could: one recorded `task` error."""

    name: str
    message: str


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A line of the plan: samples of one task that take one route."""

    task: str
    n: int
    route: Route | Refusal


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be run, and how. `tools` are those that the harness offers, by name."""

    config: RunConfig
    surveys: tuple[Survey, ...]
    suites: tuple[ResolvedSuite, ...]
    problems: tuple[Problem, ...]
    planner: Planner
    tools: dict[str, Tool]
    rows: tuple[PlanRow, ...]

    @property
    def planned(self) -> list[PlannedTask]:
        """The tasks with their trial numbers: in order of the command line, samples in order of the data, epochs
        inside. They are run in the seed's order.
        """
        planned, base = [], 0
        for found in self.surveys:
            lanes: set[Lane] = {lane_of(row.route) for row in self.rows if row.task == found.task.name}
            examples = load_fewshot(found.task)
            planned.append(
                PlannedTask(found.task, found.samples, found.shuffled, found.n, base, frozenset(lanes), examples)
            )
            base += found.n * self.config.epochs
        return planned

    @property
    def lanes(self) -> dict[str, Lane]:
        """The slower lane of each task: that of boxes where one of its samples needs one."""
        found: dict[str, Lane] = {}
        for row in self.rows:
            if found.get(row.task) != "box":
                found[row.task] = lane_of(row.route)
        return found

    @property
    def trials(self) -> int:
        """Trials of all tasks; those of tasks that could not be loaded are numbered after them."""
        return sum(found.n for found in self.surveys) * self.config.epochs

    @property
    def images(self) -> tuple[str, ...]:
        """Images that the routes need, each once."""
        return tuple(self.builds)

    @property
    def builds(self) -> dict[str, ImageBuild | None]:
        """The images that the routes need, each once, with how it is built where that is the task's own affair."""
        routes = [row.route for row in self.rows if isinstance(row.route, Route)]
        return {image: build for route in routes for image, build in route.images.items()}

    @property
    def specs(self) -> tuple[BoxSpec, ...]:
        """The boxes that the routes need, those of the same image and limits once."""
        specs = [row.route.spec for row in self.rows if isinstance(row.route, Route) and row.route.spec is not None]
        return tuple({(spec.image, spec.limits): spec for spec in specs}.values())

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know of the tasks before they run."""
        return tuple(dict.fromkeys(remark for found in self.surveys for remark in found.task.remarks))

    def identities(self, provider: str, model: str) -> dict[str, dict[str, Any]]:
        """For each task its hash and payload, which of its trials there are, and the hash and payload of the
        configuration on each of its routes.
        """
        found: dict[str, dict[str, Any]] = {}
        base = 0
        for item in self.surveys:
            configs = {}
            for row in self.rows:
                if row.task == item.task.name and isinstance(row.route, Route):
                    payload = self._config_identity(item.task, row.route, provider, model)
                    configs[row.route.scaffold] = {"config_hash": config_hash(payload), "config": payload}
            found[item.task.name] = {
                "task_hash": item.identity.task_hash,
                "task": item.identity.payload,
                "n": item.n,
                "n_total": item.n_total,
                "groups": item.groups,
                "trials": self._selection(item, base),
                "scaffolds": configs,
            }
            base += item.n * self.config.epochs
        return found

    def _selection(self, item: Survey, base: int) -> dict[str, Any]:
        """What decides which trials a task has, and which number stands for which: a resume must find the same."""
        config = self.config
        selection: dict[str, Any] = {
            "limit": config.limit,
            "seed": config.seed,
            "epochs": config.epochs,
            "first": base + 1,
        }
        if item.n < item.n_total:
            selection["drawn"] = hashlib.blake2b(array("Q", item.positions).tobytes(), digest_size=8).hexdigest()
        return selection

    def _config_identity(self, task: Task, route: Route, provider: str, model: str) -> dict[str, Any]:
        tools = [
            {"name": tool.spec.name, "description": tool.spec.description, "parameters": tool.spec.parameters}
            for tool in self.offered(route).values()
        ]
        return config_identity(
            self.config.harness,
            provider=provider,
            model=model,
            scaffold=route.scaffold,
            sampling=effective_sampling(task, self.config.harness),
            tools=tools,
            in_box=route.spec is not None,
            foreign=task.procedure is not None,
        )

    def offered(self, route: Route) -> dict[str, Tool]:
        """The tools of a route: all of the harness's in a box, only host-side ones (and submit) without."""
        if route.scaffold in ("direct", EXTERNAL):
            return {}
        if route.agent.where != "direct":
            return self.tools
        return {name: tool for name, tool in self.tools.items() if not BOX_RESOURCES.intersection(tool.resources)}


def prepare(config: RunConfig, offers: Callable[[str], frozenset[Any]], *, scorers: Sequence[Scorer] = ()) -> Plan:
    """Resolve and survey the tasks and route their samples. `scorers` grade in place of the tasks' own.

    Raises ConfigError for a name that is unknown, and where nothing at all can be run. A task that is broken beside
    one that works becomes a `Problem`.
    """
    resolution = resolve(config.tasks)
    unknown = [problem for problem in resolution.errors if problem.kind == "unknown"]
    if unknown:
        raise ConfigError(str(unknown[0]))
    problems = [Problem(problem.name, str(problem)) for problem in resolution.errors]
    surveys = []
    for task in resolution.tasks:
        try:
            graded = replace(task, scorers=tuple(scorers)) if scorers else task
            surveys.append(survey(graded, config.limit, config.seed))
        except TaskError as error:
            problems.append(Problem(task.name, str(error)))
    if not surveys:
        raise ConfigError(problems[0].message if problems else "there is nothing to run: name a task")
    tools = find_tools(config.harness)
    host_tools = any(
        name != "submit" and not BOX_RESOURCES.intersection(tool.resources) for name, tool in tools.items()
    )
    planner = Planner(config.harness, config.sandbox, offers, host_tools, terms_of(config))
    rows = tuple(row for found in surveys for row in _rows(found, planner))
    _refuse_what_nothing_can_do(config, surveys, rows)
    return Plan(config, tuple(surveys), resolution.suites, tuple(problems), planner, tools, rows)


def _refuse_what_nothing_can_do(config: RunConfig, surveys: Sequence[Survey], rows: Sequence[PlanRow]) -> None:
    """Raises ConfigError for mistakes of the harness, which each trial would meet."""
    reasons = {row.route.reason for row in rows if isinstance(row.route, Refusal)}
    try:
        config.harness.box.limits().check()
    except ValueError as error:
        if str(error) in reasons:
            raise ConfigError(f"box: {error}") from None
    judged = [found.task.name for found in surveys if any(scorer.needs_judge for scorer in found.task.scorers)]
    if judged and not config.harness.judge:
        told = "is graded by a judge model: name one, --set judge=http://HOST:PORT/v1#NAME"
        raise ConfigError(f"{judged[0]} {told}")


def _rows(found: Survey, planner: Planner) -> list[PlanRow]:
    return [
        PlanRow(found.task.name, n, planner.route_for(found.task, requires, box=box))  # type: ignore[arg-type]  # names are checked there
        for (requires, box), n in found.needs.items()
    ]


def terms_of(config: RunConfig) -> Terms:
    """What this run allows the tasks of others."""
    foreign = config.harness.foreign
    return Terms(
        variables={name: os.environ[name] for name in foreign.env if name in os.environ},
        network=config.allow_network,
        leave_running=foreign.leave_running,
        restore_tools=foreign.restore_tools,
    )


def find_tools(harness: Harness) -> dict[str, Tool]:
    """The harness's tools by name: those of the contract, registered ones, and `FILE.py::NAME`. Raises ConfigError."""
    if harness.scaffold == "direct":
        if harness.tools:
            raise ConfigError("the direct scaffold offers no tools: --set scaffold=tools, or leave tools out")
        return {}
    if not harness.tools:
        raise ConfigError(f"the {harness.scaffold} scaffold needs tools, for example tools: [bash, submit]")
    found: dict[str, Tool] = {}
    for name in harness.tools:
        tool = _find_tool(name)
        try:
            found[tool.spec.name] = tool
        except TypeError as error:
            raise ConfigError(f"tool {name}: {error}") from None
        unknown = tool.resources - BOX_RESOURCES
        if unknown:
            known = " and ".join(sorted(BOX_RESOURCES))
            raise ConfigError(f"tool {name} asks for {', '.join(sorted(unknown))}; what can be handed in is {known}")
    return found


def _find_tool(name: str) -> Tool:
    built_in = box_tool(name)
    if built_in is not None:
        return built_in
    path, member = split_file(name)
    if path is not None:
        return _tool_in_file(str(path), member)
    try:
        return get_tool(name)
    except KeyError:
        raise ConfigError(
            f"unknown tool {name!r}: there are bash, python, read, edit, submit, registered tools, and FILE.py::NAME"
        ) from None


def _tool_in_file(path: str, member: str) -> Tool:
    import runpy
    from pathlib import Path

    if not Path(path).is_file():
        raise ConfigError(f"{path}: there is no such file of tools")
    try:
        held = runpy.run_path(path).get(member)
    except Exception as error:  # noqa: BLE001  the boundary: a user's file may raise anything
        where = place_in(error, path)
        raise ConfigError(f"{where}: this file of tools cannot be read: {type(error).__name__}: {error}") from None
    if not isinstance(held, Tool):
        raise ConfigError(f"{path}: there is no @tool named {member!r}")
    return held


def plan_table(rows: Sequence[PlanRow]) -> list[dict[str, Any]]:
    """The plan for `--plan --json`: task, n, agent route, scorer route, image, network, why."""
    table = []
    for row in rows:
        entry: dict[str, Any] = {"task": row.task, "n": row.n}
        if isinstance(row.route, Refusal):
            entry |= {"agent": "refused", "scorer": "refused", "image": "", "network": "", "why": row.route.reason}
        else:
            why = f"{row.route.agent.why}; {row.route.scorer.why}"
            spec = row.route.spec
            entry |= {"agent": row.route.agent.where, "scorer": row.route.scorer.where}
            entry |= {
                "image": spec.image if spec else "",
                "network": ", ".join(spec.network) if spec else "",
                "why": why,
            }
        table.append(entry)
    return table


def boxes_table(specs: Sequence[BoxSpec], isolation: str, room: Room) -> list[dict[str, Any]]:
    """What holds each kind of box, and how many may be in use at once on this machine, for `--plan`."""
    return [
        {
            "image": spec.image,
            "isolation": isolation,
            "memory_mb": spec.limits.memory_mb,
            "at_once": room.at_once(spec.limits),
            "why": room.reason(spec.limits),
        }
        for spec in specs
    ]
