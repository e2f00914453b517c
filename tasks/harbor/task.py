"""A task directory in Harbor's format: what is in it, checked, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from agentlab.tasks.harbor import compose, places
from agentlab.tasks.harbor.config import (
    VERSIONS,
    Artifact,
    Collect,
    Config,
    Environment,
    Step,
    load_config,
    unknown_fields,
)
from agentlab.tasks.harbor.directory import as_tar, checksum, has_file, has_folder, read_text
from agentlab.tasks.harbor.environment import agent_network, box_of, unsupported, verifier_network
from agentlab.tasks.types import BoxNeeds, TaskError

CONFIG = "task.toml"
VERIFIER_S = 600.0


def is_task(folder: Path) -> bool:
    """Whether a folder is a task directory."""
    return has_file(folder, CONFIG)


@dataclass(frozen=True)
class HarborTask:
    """One task directory. `config` is what its task.toml says."""

    root: Path
    config: Config

    @property
    def name(self) -> str:
        """The folder's name: the id of the sample."""
        return self.root.name

    @cached_property
    def checksum(self) -> str:
        """Over everything in the directory. Raises TaskError."""
        return checksum(self.root)

    def step(self, name: str) -> Step | None:
        """The step of that name; None for the only step of a task that has none."""
        return next((step for step in self.config.steps if step.name == name), None)

    def instruction(self, step: Step | None) -> str:
        """What the agent is asked, without the marks against training on it. Raises TaskError."""
        folder = self.root / "steps" / step.name if step else self.root
        return _without_canary(read_text(folder / "instruction.md"))

    def tests(self, step_name: str) -> bytes:
        """The tests of a step as a tar: those of the task, with the step's own over them. Raises TaskError."""
        return as_tar(*self._test_folders(self.step(step_name)), scripts=True)

    def _test_folders(self, step: Step | None) -> list[Path]:
        own = self.root / "steps" / step.name if step else self.root
        return [folder / "tests" for folder in dict.fromkeys((self.root, own)) if has_folder(folder, "tests")]

    def names_its_shell(self, step: Step | None) -> bool:
        """Whether the test script begins by saying what runs it; one that an image brings along is taken to."""
        folders = [folder for folder in self._test_folders(step) if has_file(folder, "test.sh")]
        return not folders or read_text(folders[-1] / "test.sh").startswith("#!")

    def solution(self, step: Step | None) -> Path:
        """The folder of the reference solution. Raises TaskError."""
        folder = (self.root / "steps" / step.name if step else self.root) / "solution"
        if not has_file(folder, "solve.sh"):
            raise TaskError("there is no solution/solve.sh for the reference to run", where=str(folder.parent))
        return folder

    def verifier_seconds(self, step: Step | None) -> float:
        own = step.verifier.timeout_sec if step else None
        return own or self.config.verifier.timeout_sec or VERIFIER_S

    def agent_seconds(self, step: Step | None) -> float | None:
        return (step.agent.timeout_sec if step else None) or self.config.agent.timeout_sec

    def collect_hooks(self, step: Step | None) -> tuple[Collect, ...]:
        return (*self.config.verifier.collect, *(step.verifier.collect if step else ()))

    def artifacts(self, step: Step | None) -> tuple[Artifact, ...]:
        return (*self.config.artifacts, *(step.artifacts if step else ()))

    def verifier_environment(self, step: Step | None) -> Environment | None:
        """The environment of a verifier in a box of its own, None where it shares the agent's."""
        for verifier in (step.verifier if step else None, self.config.verifier):
            if verifier is None or (verifier.environment_mode is None and verifier.environment is None):
                continue
            if verifier.environment_mode == "shared":
                return None
            return verifier.environment or self.config.verifier.environment or self.config.environment
        return None

    def verifier_needs(self, step: Step | None) -> BoxNeeds | None:
        """The box of a verifier of its own. Raises TaskError."""
        environment = self.verifier_environment(step)
        if environment is None:
            return None
        copied = environment is self.config.environment
        tests = next((folder for folder in reversed(self._test_folders(step)) if has_file(folder, "Dockerfile")), None)
        folder = tests or (self.root / "environment" if copied else self.root / "tests")
        network = verifier_network(self.config, step, environment)
        user = str(self._verifier_user(step) or "")
        return box_of(self.root, environment, network, (user, user), folder)

    def _verifier_user(self, step: Step | None) -> str | int | None:
        own = step.verifier.user if step else None
        return own if own is not None else self.config.verifier.user

    def needs(self) -> BoxNeeds:
        """The agent's box, with those of verifiers of their own. Raises TaskError."""
        steps: tuple[Step | None, ...] = self.config.steps or (None,)
        users = {(str(self._agent_user(step) or ""), str(self._verifier_user(step) or "")) for step in steps}
        networks = {agent_network(self.config, step) for step in steps}
        if len(users) > 1 or len(networks) > 1:
            what = "users" if len(users) > 1 else "networks"
            raise TaskError(f"steps: their {what} differ, and one box serves them all", where=str(self.root / CONFIG))
        folder = self.root / "environment"
        needs = box_of(self.root, self.config.environment, networks.pop(), users.pop(), folder)
        own = {step.name if step else "": self.verifier_needs(step) for step in steps}
        verifiers = tuple((name, box) for name, box in own.items() if box is not None)
        return replace(needs, verifiers=verifiers)

    def _agent_user(self, step: Step | None) -> str | int | None:
        own = step.agent.user if step else None
        return own if own is not None else self.config.agent.user

    def loose_files(self) -> Path | None:
        """The environment folder where it is laid into the working directory: nothing is built from it."""
        folder = self.root / "environment"
        built = has_file(folder, "Dockerfile") or any(has_file(folder, name) for name in compose.NAMES)
        return folder if has_folder(self.root, "environment") and not built else None

    def problems(self) -> Iterator[str]:
        """Sentences about what is missing or cannot be honoured; with the file that they are about."""
        where = str(self.root / CONFIG)
        for step in self.config.steps or (None,):
            yield from (f"{where}: {problem}" for problem in self._problems_of(step))
        if len({step.name for step in self.config.steps}) < len(self.config.steps):
            yield f"{where}: two steps have the same name"
        if has_file(self.root, "trajectory.json"):
            yield f"{self.root / 'trajectory.json'}: agents here do not go on from a recorded trajectory"

    def _problems_of(self, step: Step | None) -> Iterator[str]:
        own = self.root / "steps" / step.name if step else self.root
        prefix = f"steps.{step.name}." if step else ""
        if not has_file(own, "instruction.md"):
            yield f"{prefix}instruction: {own / 'instruction.md'} is missing"
        if step is not None and has_file(own, "trajectory.json"):
            yield f"{prefix}trajectory: agents here do not go on from a recorded trajectory"
        environment = self.verifier_environment(step)
        for problem in unsupported(environment) if environment is not None else ():
            yield f"{prefix}verifier.{problem}"
        brings_tests = environment is not None and environment is not self.config.environment
        if not brings_tests and not any(has_file(folder, "test.sh") for folder in self._test_folders(step)):
            windows = any(has_file(folder, "test.bat") for folder in self._test_folders(step))
            yield f"{prefix}tests: there is only a test.bat" if windows else f"{prefix}tests: test.sh is missing"
        if environment is None and verifier_network(self.config, step, None) != agent_network(self.config, step):
            yield f"{prefix}verifier.network_mode: the verifier's box is the agent's, and no box changes its network"
        for hook in self.collect_hooks(step):
            if hook.service != "main" or hook.user is not None:
                field = "service" if hook.service != "main" else "user"
                given = f"{field} = {getattr(hook, field)!r}"
                yield f"{prefix}verifier.collect.{given}: hooks run in the agent's box, as the agent"
        for entry in self.artifacts(step):
            if any(f"{entry.source}/".startswith(f"{place}/") for place in (places.TESTS, places.SOLUTION)):
                yield f"{prefix}artifacts.source = {entry.source!r}: tests and solution are no work of the agent's"
            if entry.service not in (None, "main"):
                yield f"{prefix}artifacts.service = {entry.service!r}: there are no services beside the agent's box"

    def remarks(self) -> Iterator[str]:
        """What does no harm but is not what it looks like."""
        where = self.root / CONFIG
        for name in unknown_fields(self.config):
            yield f"{where}: the field {name} is not part of the format and does nothing"
        if self.config.schema_version not in VERSIONS:
            yield f"{where}: schema_version {self.config.schema_version} is read as {VERSIONS[-1]}"
        if self.config.steps and has_file(self.root, "instruction.md"):
            yield f"{self.root / 'instruction.md'}: the steps have instructions of their own, and this one is not shown"


def load(root: Path) -> HarborTask:
    """The task in `root`. Raises TaskError for a task.toml that cannot be read."""
    return HarborTask(root, load_config(root / CONFIG))


def _without_canary(text: str) -> str:
    lines = text.split("\n")
    first = 0
    while first < len(lines) and _is_canary(lines[first].strip().lower()):
        first += 1
    return "\n".join(lines[first:]).strip("\n")


def _is_canary(line: str) -> bool:
    comment = line.startswith("#") or (line.startswith("<!--") and line.endswith("-->"))
    return comment and "canary" in line
