"""For tests that grade programs: one real box a module, emptied between tests."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest
import pytest_asyncio
from back_ends import usable

from agentlab.sandboxes import Backend, BoxSpec, Sandbox
from agentlab.sandboxes.opening import BackendName
from agentlab.tasks import Sample, Score, ScoreContext, Submission, Task
from agentlab.tasks.scorers.programs import checks_of, hidden_tests, program_tests, repository_tests
from agentlab.traces.events import ListRecorder


@dataclass
class Grader:
    """Grades answers and workspaces in one box."""

    backend: Backend
    box: Sandbox | None = None

    async def fresh(self) -> Sandbox:
        """The box, as new; another one where a test has left it in a state that cannot be undone."""
        if self.box is None or not await self.box.reset():
            if self.box is not None:
                await self.box.close()
            self.box = await self.backend.create(BoxSpec())
        return self.box

    async def program(self, answer: str, *checks: str, names: tuple[str, ...] = ("answer",), cpu_s: float = 5) -> Score:
        """The score of an answer that is tested by `checks`."""
        box = await self.fresh()
        sample = Sample(id="x", input="x", metadata=checks_of(names, checks))
        context = ScoreContext(box, None, ListRecorder())
        graded = program_tests(cpu_s=cpu_s).grade(sample, Submission(answer=answer), context)
        assert not isinstance(graded, Score)
        return await graded

    async def repository(
        self, files: Mapping[str, str], test: str, *, modules: tuple[str, ...], cpu_s: float = 5
    ) -> Score:
        """The score of a workspace that is tested by the hidden file `hidden_test.py`."""
        box = await self.fresh()
        for path, text in files.items():
            await box.write_file(path, text.encode())
        return await self.graded(box, test, modules, cpu_s=cpu_s)

    async def graded(self, box: Sandbox, test: str, modules: tuple[str, ...], *, cpu_s: float = 5) -> Score:
        """The score of the workspace as it is."""
        sample = Sample(id="x", input="x", metadata=hidden_tests({"hidden_test.py": test}, modules=modules))
        graded = repository_tests(cpu_s=cpu_s).grade(sample, Submission(), ScoreContext(box, None, ListRecorder()))
        assert not isinstance(graded, Score)
        return await graded

    async def solved(self, task: Task, sample: Sample, *, nothing: bool = False) -> Score:
        """The score of a sample's own solution, or of having done nothing."""
        box = await self.fresh()
        for path, text in sample.files.items():
            await box.write_file(path, text.encode())
        solution = () if nothing or sample.solution is None else sample.solution
        answer = solution if isinstance(solution, str) else ""
        for call in () if isinstance(solution, str) else solution:
            if call.name == "edit":
                assert call.arguments["old_text"] == ""
                await box.write_file(call.arguments["path"], call.arguments["new_text"].encode())
        context = ScoreContext(box, None, ListRecorder())
        score = task.scorers[0].grade(sample, Submission(answer=answer), context)
        return await score if inspect.isawaitable(score) else score


async def opened(name: BackendName) -> AsyncIterator[Grader]:
    backend = await usable(name)
    made = Grader(backend)
    yield made
    if made.box is not None:
        await made.box.close()
    await backend.close()


# One box a module: a module that uses it runs its tests in one loop, `asyncio(loop_scope="module")`.
@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    ],
)
async def grader(request: pytest.FixtureRequest) -> AsyncIterator[Grader]:
    """Grades in one box of each kind in turn."""
    async for made in opened(request.param):
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def docker_grader() -> AsyncIterator[Grader]:
    """Grades in one Docker box."""
    async for made in opened("docker"):
        yield made


@pytest.fixture
def open_docker() -> Callable[[], Awaitable[Backend]]:
    return lambda: usable("docker")


@pytest.fixture
def program_score(grader: Grader) -> Callable[..., Awaitable[Score]]:
    return grader.program


@pytest.fixture
def repository_score(grader: Grader) -> Callable[..., Awaitable[Score]]:
    return grader.repository


@pytest.fixture
def solved(docker_grader: Grader) -> Callable[..., Awaitable[Score]]:
    return docker_grader.solved
