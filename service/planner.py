"""The planner: what a sample requires decides where its agent and its scorer run, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from agentlab.sandboxes.protocol import BoxSpec, Capability, Limits
from agentlab.service.harness import Harness
from agentlab.tasks.types import Sample, Task

Lane: TypeAlias = Literal["plain", "box"]
CAPABILITIES: frozenset[str] = frozenset({"shell", "python", "browser", "network", "gpu"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where one side of a trial runs: `direct` (no box) or a sandbox by name, with its image, and the reason."""

    where: str
    image: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """The way of a sample: scaffold, the agent's place and the scorer's place, and the box they need."""

    scaffold: str
    agent: Place
    scorer: Place
    spec: BoxSpec | None = None
    shared_box: bool = False
    """The scorer grades in the agent's own box, once every process of the agent is dead."""

    def document(self) -> dict[str, Any]:
        """The route as it is stored with each attempt."""
        document: dict[str, Any] = {"agent": self.agent.where, "scorer": self.scorer.where, "scaffold": self.scaffold}
        if self.spec is not None:
            document["image"] = self.spec.image
        return document


@dataclass(frozen=True, slots=True)
class Refusal:
    """A sample that cannot be routed, and why: recorded as a `task` error of that sample."""

    reason: str


class Planner:
    """Routes samples. Pure: it asks `offers` what an image can do and starts nothing."""

    def __init__(
        self, harness: Harness, sandbox: str, offers: Callable[[str], frozenset[Capability]], host_tools: bool = False
    ) -> None:
        self._harness = harness
        self._sandbox = sandbox
        self._offers = offers
        self._host_tools = host_tools
        self._known: dict[tuple[str, tuple[str, ...], bool], Route | Refusal] = {}

    def route(self, task: Task, sample: Sample) -> Route | Refusal:
        requires = task.requires if sample.requires is None else sample.requires
        return self.route_for(task, requires, has_files=bool(sample.files))

    def route_for(self, task: Task, requires: tuple[Capability, ...], *, has_files: bool = False) -> Route | Refusal:
        """The route of samples that require this. The same object for the same question, so that callers may key on
        it.
        """
        key = (task.name, requires, has_files and not requires)
        route = self._known.get(key)
        if route is None:
            route = self._known[key] = self._plan(task, requires, has_files)
        return route

    def _plan(self, task: Task, requires: tuple[Capability, ...], has_files: bool) -> Route | Refusal:
        unknown = [name for name in (*requires, *_grading(task)) if name not in CAPABILITIES]
        if unknown:
            known = ", ".join(sorted(CAPABILITIES))
            return Refusal(f"requires the unknown capability {unknown[0]!r}; there are {known}")
        if has_files and not requires:
            return Refusal("lays files into a box but requires nothing; say requires=('shell',)")
        scaffold = self._scaffold(task, requires)
        if isinstance(scaffold, Refusal):
            return scaffold
        in_box = bool(requires) and scaffold != "direct"
        image = task.box.image or self._harness.box.image
        needed = (*requires, *_grading(task)) if in_box else _grading(task)
        missing = sorted(set(needed) - self._offers(image)) if needed else []
        if missing:
            return Refusal(f"requires {', '.join(missing)}, which {self._sandbox} with image {image} does not offer")
        limits = task.box.limits or self._harness.box.limits()
        return self._assemble(task, requires, scaffold, in_box, image, limits)

    def _assemble(
        self, task: Task, requires: tuple[str, ...], scaffold: str, in_box: bool, image: str, limits: Limits
    ) -> Route | Refusal:
        grading = _grading(task)
        try:
            if in_box or grading:
                limits.check()
        except ValueError as error:
            return Refusal(str(error))
        if in_box:
            agent = Place(self._sandbox, image, f"requires {', '.join(requires)}")
        elif requires:
            agent = Place("direct", why="answers in text; no tools in this harness")
        else:
            agent = Place("direct", why="requires nothing")
        if grading:
            names = ", ".join(scorer.name for scorer in task.scorers if scorer.requires)
            scorer = Place(self._sandbox, image, f"{names} requires {', '.join(grading)}")
        else:
            scorer = Place("direct", why="runs no code")
        spec = None
        if in_box or grading:
            reuse = self._harness.box.reuse
            spec = BoxSpec(image=image, limits=limits, network=task.box.network, reuse=reuse)
        return Route(scaffold, agent, scorer, spec, shared_box=in_box and bool(grading))

    def _scaffold(self, task: Task, requires: tuple[str, ...]) -> str | Refusal:
        if self._harness.scaffold == "direct":
            if requires and task.answer == "workspace":
                return Refusal(
                    "is answered by files in a box, which the direct scaffold has none of; use --harness tools"
                )
            return "direct"
        if requires or (self._host_tools and task.method == "generate" and task.prompt_mode == "chat"):
            return self._harness.scaffold
        return "direct"


def _grading(task: Task) -> tuple[Capability, ...]:
    """What the task's scorers require together, in order and once."""
    return tuple(dict.fromkeys(name for scorer in task.scorers for name in scorer.requires))


def lane_of(route: Route | Refusal) -> Lane:
    """Trials whose agent works in a box have a lane of their own, so that slow boxes hold up no plain question."""
    return "box" if isinstance(route, Route) and route.agent.where != "direct" else "plain"
