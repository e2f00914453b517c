"""The planner: what a sample requires decides where its agent and its scorer run, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from agentlab.sandboxes.egress import allow_list
from agentlab.sandboxes.protocol import BoxSpec, Capability, ImageBuild
from agentlab.service.harness import Harness
from agentlab.tasks.external import ExternalEval, SandboxedExternalEval
from agentlab.tasks.types import BoxNeeds, Sample, Task, TaskError, Terms
from agentlab.tasks.variables import expand

EXTERNAL = "external"
"""In place of a scaffold: the task is carried out by a program of its own."""
WRITABLE = frozenset({"docker"})
"""Sandboxes that can give a task a writable system."""
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
    build: ImageBuild | None = None
    """How the box's image is made, where it is the task's own."""
    verifiers: Mapping[str, tuple[BoxSpec, ImageBuild | None]] = field(default_factory=dict)
    """Boxes of their own for grading, by the name of the step."""

    @property
    def images(self) -> dict[str, ImageBuild | None]:
        """The images that its boxes need, and how each is made where the task brings that along."""
        own = {self.spec.image: self.build} if self.spec is not None else {}
        return own | {spec.image: build for spec, build in self.verifiers.values()}

    def document(self) -> dict[str, Any]:
        """The route as it is stored with each attempt."""
        document: dict[str, Any] = {"agent": self.agent.where, "scorer": self.scorer.where, "scaffold": self.scaffold}
        if self.spec is not None:
            document["image"] = self.spec.image
            if self.spec.network:
                document["network"] = list(self.spec.network)
        return document


@dataclass(frozen=True, slots=True)
class Refusal:
    """A sample that cannot be routed, and why: recorded as a `task` error of that sample."""

    reason: str


class Planner:
    """Routes samples. Pure: it asks `offers` what an image can do and starts nothing."""

    def __init__(
        self,
        harness: Harness,
        sandbox: str,
        offers: Callable[[str], frozenset[Capability]],
        host_tools: bool = False,
        terms: Terms | None = None,
    ) -> None:
        self._harness = harness
        self._sandbox = sandbox
        self._offers = offers
        self._host_tools = host_tools
        self._terms = terms or Terms()
        self._known: dict[tuple[str, tuple[str, ...], bool, BoxNeeds | None], Route | Refusal] = {}

    def route(self, task: Task, sample: Sample) -> Route | Refusal:
        requires = task.requires if sample.requires is None else sample.requires
        return self.route_for(task, requires, has_files=bool(sample.files), box=task.box_for(sample))

    def route_for(
        self, task: Task, requires: tuple[Capability, ...], *, has_files: bool = False, box: BoxNeeds | None = None
    ) -> Route | Refusal:
        """The route of samples that require this. The same object for the same question, so that callers may key on
        it.
        """
        key = (task.name, requires, has_files and not requires, box)
        route = self._known.get(key)
        if route is None:
            try:
                route = self._known[key] = self._plan(task, requires, has_files, box or task.box)
            except TaskError as error:
                route = self._known[key] = Refusal(f"cannot be given its box: {error}")
        return route

    def _external(self, task: ExternalEval, box: BoxNeeds) -> Route | Refusal:
        """A program that grades by itself: on this machine, or in a box."""
        if not isinstance(task, SandboxedExternalEval):
            place = Place("external", why="has its own runner, on this machine")
            return Route(EXTERNAL, place, place)
        spec = self._spec(box)
        if reason := self._refusal(box) or self._network_refusal(box, ()):
            return Refusal(reason)
        try:
            if spec.profile == "hardened":
                spec.limits.check()
        except ValueError as error:
            return Refusal(str(error))
        place = Place(self._sandbox, spec.image, "has its own runner, in a box")
        return Route(EXTERNAL, place, place, spec, build=box.build)

    def _plan(self, task: Task, requires: tuple[Capability, ...], has_files: bool, box: BoxNeeds) -> Route | Refusal:
        if isinstance(task, ExternalEval):
            return self._external(task, box)
        unknown = [name for name in (*requires, *_grading(task)) if name not in CAPABILITIES]
        if unknown:
            known = ", ".join(sorted(CAPABILITIES))
            return Refusal(f"requires the unknown capability {unknown[0]!r}; there are {known}")
        if has_files and not requires:
            return Refusal("lays files into a box but requires nothing; say requires=('shell',)")
        scaffold = self._scaffold(task, requires)
        if isinstance(scaffold, Refusal):
            return scaffold
        if reason := self._refusal(box):
            return Refusal(reason)
        in_box = bool(requires) and scaffold != "direct"
        image = box.image or self._harness.box.image
        needed = (*requires, *_grading(task)) if in_box else _grading(task)
        missing = sorted(set(needed) - self._offers(image)) if needed else []
        if missing:
            return Refusal(f"requires {', '.join(missing)}, which {self._sandbox} with image {image} does not offer")
        if (in_box or needed) and (reason := self._network_refusal(box, requires)):
            return Refusal(reason)
        spec = self._spec(box)
        try:
            if spec.profile == "hardened" and (in_box or _grading(task)):
                spec.limits.check()
        except ValueError as error:
            return Refusal(str(error))
        return self._assemble(task, requires, scaffold, in_box, box, spec)

    def _refusal(self, box: BoxNeeds) -> str:
        """Why a box cannot be had here; empty where it can."""
        if box.refusal:
            return f"is refused: {box.refusal}"
        if box.profile == "writable" and self._sandbox not in WRITABLE:
            return f"needs a box with a writable system, which {self._sandbox} does not offer; use --sandbox docker"
        return ""

    def _network_refusal(self, box: BoxNeeds, requires: tuple[Capability, ...]) -> str:
        """Why the network that a box asks for cannot be had; empty where it can, or where none is asked for.

        The hosts that a person's own task lists are open; those of somebody else's, and the whole network, want a word
        of the person who runs them.
        """
        if "network" in requires and not box.network:
            return "requires a network, but lists no host that it may reach: BoxNeeds(network=(HOST, ...))"
        for needs in (box, *(needs for _, needs in box.verifiers)):
            if not needs.network:
                continue
            try:
                everywhere = allow_list(needs.network).everywhere
            except ValueError as error:
                return f"asks for a network that cannot be given: {error}"
            wanted = f"asks for a network ({'the whole network' if everywhere else ', '.join(needs.network)})"
            if (everywhere or needs.foreign) and not self._terms.network:
                return f"{wanted}: --allow-network gives it one"
            image = needs.image or self._harness.box.image
            if "network" not in self._offers(image):
                return f"{wanted}, which {self._sandbox} with image {image} does not offer"
        return ""

    def _spec(self, box: BoxNeeds) -> BoxSpec:
        """The box that is asked for. Raises TaskError for a variable that the run does not allow."""
        return BoxSpec(
            image=box.image or self._harness.box.image,
            limits=box.limits or self._harness.box.limits(),
            env=expand(dict(box.env), self._terms.variables),
            network=box.network,
            profile=box.profile,
            users=box.users,
            workdir=box.workdir,
            reuse=self._harness.box.reuse and box.profile == "hardened",
        )

    def _assemble(
        self, task: Task, requires: tuple[str, ...], scaffold: str, in_box: bool, box: BoxNeeds, spec: BoxSpec
    ) -> Route | Refusal:
        grading, image = _grading(task), spec.image
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
        if not (in_box or grading):
            return Route(scaffold, agent, scorer)
        verifiers = {name: (self._spec(needs), needs.build) for name, needs in box.verifiers}
        shared = in_box and bool(grading)
        return Route(scaffold, agent, scorer, spec, shared_box=shared, build=box.build, verifiers=verifiers)

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
    """Trials whose agent works in a box have a lane of their own, so that slow boxes hold up no plain question. Those
    of a program that grades many at once only wait for it.
    """
    in_box = isinstance(route, Route) and route.agent.where != "direct" and route.scaffold != EXTERNAL
    return "box" if in_box else "plain"
