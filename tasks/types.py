"""The words of this room as types: Sample, Task, Suite, Scorer, Score, Submission, ScoreContext, Metric.

A task knows nothing of models, a scorer nothing of how the answer came about. Types of models and sandboxes appear as
types only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec

from agentlab.models.protocol import Sampling
from agentlab.sandboxes.protocol import Capability, ImageBuild, Limits
from agentlab.traces.events import Flag, Judge, Message, Recorder, ToolCall, ToolSpec

if TYPE_CHECKING:
    from agentlab.sandboxes.protocol import Sandbox
    from agentlab.tasks.metrics import Metric


SafetyKind: TypeAlias = Literal["refusal", "harm", "action", "conduct"]
"""How far an answer complies, whether it does harm, which action it takes; and what an agent did that it should not."""


class TaskError(Exception):
    """A task is wrong: it cannot be loaded, its data is malformed, or a sample cannot be routed.

    `where` is a file, `file:line`, or a URI; the message says what is wrong and what to do.
    """

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where
        self.reason = message


class VerifierError(Exception):
    """A scorer could not reach a verdict for reasons of its own. The trial is not scored and counts as outcome
    `verifier`.
    """


class Sample(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One item of a task."""

    id: str
    input: str | tuple[Message, ...]
    """The question, or whole messages. A task's `prompt` template is applied to a plain string."""
    target: str | tuple[str, ...] = ""
    """The right answer; several where any of them is right. For choice tasks the letter."""
    choices: tuple[str, ...] = ()
    files: dict[str, str] = {}
    """Workspace path to text: laid into the box before the agent starts."""
    tools: tuple[ToolSpec, ...] = ()
    """Functions that the model may answer with; they are scored, never carried out (function-calling benchmarks)."""
    requires: tuple[Capability, ...] | None = None
    """What the agent needs for this sample; None: what the task says."""
    network: tuple[str, ...] | None = None
    """The hosts that this sample's box may reach; None: those of the task."""
    cluster: str = ""
    """Items that are not independent share a cluster: a passage, a repository, a prompt family. Empty: its own."""
    group: str = ""
    """A subtask for grouped metrics, for example a subject."""
    solution: str | tuple[ToolCall, ...] | None = None
    """What earns full marks: an answer, or the tool calls that lead there. None: the (first) target."""
    metadata: dict[str, Any] = {}
    """Anything the scorer needs; never shown to the model unless the prompt names it."""


class Submission(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the agent handed in."""

    answer: str = ""
    """The final text, thinking removed; or the text of the task's `answer_file`, where the agent wrote one in its
    box.
    """
    tool_calls: tuple[ToolCall, ...] = ()
    """The function calls of the final message, where a sample offers `tools`."""
    logprobs: tuple[float, ...] = ()
    """One log-likelihood for each choice, where the task's method is `loglikelihood`."""
    choice_lengths: tuple[int, ...] = ()
    """Length in characters of each choice that was scored, for length-normalised accuracy."""
    messages: tuple[Message, ...] = ()
    """The conversation, for judges."""
    flags: tuple[Flag, ...] = ()


class Score(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A verdict. `value` in 0..1 is the headline; `scores` holds named further ones; flags say what was special."""

    value: float
    scores: dict[str, float] = {}
    answer: str = ""
    explanation: str = ""
    flags: tuple[Flag, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """Judgements on the trial beside the score, as (name, value): what a reader of the score should know."""


@dataclass(frozen=True, slots=True)
class ScoreContext:
    """What a scorer is given. `sandbox` is set where the scorer `requires` something: for an agent that worked in a
    box it is that box with every process of the agent dead, else a fresh one. `judge` is set where the harness names
    a judge model.
    """

    sandbox: Sandbox | None
    judge: Judge | None
    recorder: Recorder
    work: Work | None = None
    """Where the task has a procedure: the step that is graded, and what it may use."""


Grade: TypeAlias = Callable[[Sample, Submission, ScoreContext], "Score | Awaitable[Score]"]


@dataclass(frozen=True, slots=True)
class Scorer:
    """Grades one sample. `name`, `version` and `params` are part of a task's identity: raise `version` when verdicts
    change.
    """

    name: str
    grade: Grade
    version: int = 1
    requires: tuple[Capability, ...] = ()
    """What grading needs: a box that offers it. Empty: graded in the runner, never running the candidate's code."""
    params: Mapping[str, Any] = field(default_factory=dict)
    needs_judge: bool = False
    scale: tuple[float, float] = (0.0, 1.0)
    """The least and the most that a value can be; one outside is a failure of the scorer."""


class SampleSource(Protocol):
    """Where samples' rows come from. Iterated twice: once to plan and hash, once to run; never held in memory whole."""

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (where, row): `where` is `file:line` for messages. Raises TaskError for data that is missing or
        malformed.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """URI, revision and sha256 of the bytes read, for the task's hash. Call after `rows` was exhausted once."""
        ...


@dataclass(frozen=True, slots=True)
class BoxNeeds:
    """What a task's box must be: an image by name (empty: the harness's), limits where they differ, hosts it may
    reach.
    """

    image: str = ""
    limits: Limits | None = None
    network: tuple[str, ...] = ()
    """`host`, `host:port` (80 or 443), `*.host` (all hosts under it) or `*` (all public hosts, where the run allows
    it).
    """
    timeout_s: float = 60.0
    """Time for one grading command."""
    profile: Literal["hardened", "writable"] = "hardened"
    users: tuple[str, str] = ("", "")
    """Of a writable box: the accounts of agent and grader. Empty: the image's user."""
    workdir: str = ""
    """Of a writable box. Empty: the image's."""
    env: tuple[tuple[str, str], ...] = ()
    """Variables; `${NAME}` and `${NAME:-default}` are replaced from those of this machine that the run allows."""
    build: ImageBuild | None = None
    """How `image` is made where it is not there."""
    foreign: bool = False
    """The task is somebody else's: it gets a network only where the run allows it."""
    refusal: str = ""
    """Why no box can be had. The sample is then a recorded error, and nothing of it runs."""
    verifiers: tuple[tuple[str, BoxNeeds], ...] = ()
    """Boxes of their own for grading, by the name of the step."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a sample that the agent is given by itself."""

    name: str
    input: str
    timeout_s: float | None = None
    """What the agent may take, where that is less than the harness allows. None: what the harness says."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run allows the tasks of others."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Those of this machine that a task may read."""
    network: bool = False
    leave_running: bool = False
    """What the agent started runs on while it is tested, for tasks that test a service. Else it is dead by then."""
    restore_tools: bool = True
    """Programs that a verdict runs on are put back as they are in the image before the verifier starts."""


@dataclass(frozen=True, slots=True)
class Work:
    """A step under way."""

    sample: Sample
    step: Step
    sandbox: Sandbox
    recorder: Recorder
    terms: Terms
    own_box: Callable[[], AbstractAsyncContextManager[Sandbox]] | None = None
    """Opens the box that the step is graded in, where it has one of its own. The agent's may be gone then."""


class Procedure(Protocol):
    """How a task is carried out where a prompt and a scorer are not enough: what its box must be, sample by sample;
    what is done in it before the agent; a reference that acts there; and several steps, each graded before the next.

    Whatever is not plain data of the sample belongs to the identity through `Sample.metadata` (a checksum).
    """

    def needs(self, sample: Sample) -> BoxNeeds: ...

    def steps(self, sample: Sample) -> Sequence[Step]:
        """At least one."""
        ...

    async def prepare(self, work: Work) -> None:
        """Before the agent first acts in the box. Raises TaskError where the task's own set-up fails."""
        ...

    async def solve(self, work: Work) -> None:
        """Carry the reference solution out. Raises TaskError where there is none."""
        ...

    def goes_on(self, sample: Sample, step: Step, score: Score) -> bool:
        """Whether the next step is worth taking."""
        ...

    def combine(self, sample: Sample, scores: Sequence[Score]) -> Score:
        """The score of the sample from those of the steps that were graded."""
        ...


@dataclass(frozen=True, slots=True)
class FewShot:
    """Worked examples before the question: the first `n` rows of `source`, as turns (chat) or text (raw)."""

    source: SampleSource
    n: int
    to_sample: Callable[[dict[str, Any]], Sample | None] | None = None
    """How a row becomes an example; None: as the task's own rows. The example's answer is its `solution` or target."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A benchmark. Give `samples` (a list, for small own tasks) or `source` with `to_sample`."""

    name: str = ""
    """Set by `@task` from the function's name where empty."""
    description: str = ""
    version: int = 1
    samples: Iterable[Sample] | None = None
    source: SampleSource | None = None
    to_sample: Callable[[dict[str, Any]], Sample | None] | None = None
    """A row to a sample; None leaves the row out. Raise ValueError or KeyError for a malformed row: reported by file
    and line.
    """
    prompt: str = "{input}"
    """Template: `{input}`, `{choices}` (one lettered line each) and `{letters}` ("A, B, C or D") are replaced,
    nothing else.
    """
    agent_prompt: str = ""
    """Appended to the prompt where the agent works in a box: where to put the answer. Empty: nothing."""
    system: str = ""
    prompt_mode: Literal["chat", "raw"] = "chat"
    method: Literal["generate", "loglikelihood"] = "generate"
    fewshot: FewShot | None = None
    sampling: Sampling = field(default_factory=Sampling)
    """What the protocol of the benchmark fixes (stop sequences, a token budget); the harness overrides field by
    field.
    """
    requires: tuple[Capability, ...] = ()
    """What the agent needs. Empty: answered directly, whatever the harness."""
    answer: Literal["text", "workspace"] = "text"
    """`text`: a direct answer is possible too, also where `requires` is set. `workspace`: only the box's files count.
    """
    answer_file: str = ""
    """For `text` answers of an agent in a box: the file that holds the answer, if the agent wrote it."""
    box: BoxNeeds = BoxNeeds()
    scorers: Sequence[Scorer] = ()
    """The first one's value is the score; the others add named scores."""
    metrics: Sequence[Metric] = ()
    """The first is the headline. Empty: the mean."""
    safety: tuple[SafetyKind, ...] = ()
    """The safety labels that each trial is given as it ends, with their rates in the summary. No part of the identity:
    no score depends on them.
    """
    nop_score: float = 0.0
    """What doing nothing earns at most (1.0 where the right act is to call nothing)."""
    procedure: Procedure | None = None
    """For tasks that act in the box themselves, such as other people's."""
    remarks: tuple[str, ...] = ()
    """What a person should know before the run: a sentence each."""
    licence: str = ""
    paper: str = ""
    origin: str = ""
    """`file:line` that declares the task, for messages; set by `@task` where empty."""

    def box_for(self, sample: Sample) -> BoxNeeds | None:
        """The box that a sample asks for; None: the task's."""
        box = self.procedure.needs(sample) if self.procedure is not None else None
        if sample.network is None or sample.network == (box or self.box).network:
            return box
        return replace(box or self.box, network=sample.network)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named set of tasks. `combine` says how their headline values become one."""

    name: str
    tasks: tuple[str, ...]
    description: str = ""
    combine: Literal["mean", "sample_weighted", "none"] = "mean"
