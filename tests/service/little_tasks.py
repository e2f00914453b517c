"""Small tasks, each for one behaviour of the runner. Named on a command line as `little_tasks.py::NAME`."""

from __future__ import annotations

from typing import Any

from agentlab.models.protocol import Sampling
from agentlab.sandboxes.protocol import Limits
from agentlab.tasks import (
    BoxNeeds,
    FewShot,
    MemorySource,
    Sample,
    Score,
    ScoreContext,
    Scorer,
    Submission,
    Suite,
    Task,
    suite,
    task,
)
from agentlab.tasks.scorers import choice, choice_loglikelihood, exact, number, rubric
from agentlab.traces.events import Message, ToolCall, ToolSpec


def _sums(n: int, **fields: Any) -> list[Sample]:
    return [Sample(id=f"s{i}", input=f"What is {i} + {i}?", target=str(2 * i), **fields) for i in range(n)]


def _scorer(grade: Any, name: str = "own", **fields: Any) -> Scorer:
    return Scorer(name=name, grade=grade, **fields)


@task
def sums(n: int = 3) -> Task:
    return Task(samples=_sums(n), scorers=[number()])


@task
def clustered() -> Task:
    samples = [Sample(id=f"c{i}", input=f"{i}?", target="0", cluster=f"k{i // 4}") for i in range(8)]
    return Task(samples=samples, scorers=[number()])


@suite
def pair() -> Suite:
    return Suite(name="pair", tasks=("sums", "clustered"))


@task
def protocol() -> Task:
    """A task whose protocol fixes what is sampled, with examples and a system text."""
    return Task(
        samples=_sums(1),
        prompt="Question: {input}",
        system="You add.",
        fewshot=FewShot(MemorySource([{"id": "e", "input": "What is 5 + 5?", "target": "10"}]), 1),
        sampling=Sampling(max_tokens=64, stop=("Question:",)),
        scorers=[number()],
    )


@task
def raw() -> Task:
    return Task(samples=_sums(1), prompt="Q: {input}\nA:", prompt_mode="raw", scorers=[number()])


_COLOURS = [
    Sample(id="sky", input="The sky is", choices=("green", "blue"), target="B"),
    Sample(id="sea", input="The sea is", choices=("blue", "red"), target="A"),
    Sample(id="ink", input="The ink is", choices=("red", "blue"), target="B"),
]


@task
def likely() -> Task:
    return Task(
        samples=_COLOURS,
        prompt_mode="raw",
        method="loglikelihood",
        scorers=[choice_loglikelihood()],
    )


@task
def letters() -> Task:
    return Task(samples=_COLOURS, prompt="{input}\n{choices}\nAnswer with {letters}.", scorers=[choice()])


@task
def calls() -> Task:
    """A function-calling task: its functions are answered with, never carried out."""
    spec = ToolSpec(name="paint", description="Paint.", parameters={"type": "object", "properties": {}})

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        return Score(value=float([call.name for call in submission.tool_calls] == ["paint"]))

    return Task(samples=[Sample(id="c", input="Paint.", tools=(spec,))], scorers=[_scorer(grade)])


@task
def judged() -> Task:
    return Task(samples=_sums(2), scorers=[rubric(["The sum is right."])])


@task
def silence() -> Task:
    """Declares nothing, and gives silence full marks once."""
    said = [Sample(id="hush", input="Hush!", target="", solution=""), Sample(id="speak", input="Speak!", target="word")]
    return Task(
        samples=said, scorers=[_scorer(lambda sample, sent, context: Score(value=sent.answer == sample.target))]
    )


@task
def moody() -> Task:
    """One scorer that fails in each way it can."""

    def grade(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
        if sample.id == "raises":
            raise RuntimeError("the grader fell over")
        if sample.id == "beyond":
            return Score(value=7)
        if sample.id == "nan":
            return Score(value=float("nan"))
        if sample.id == "infinite":
            return Score(value=float("inf"))
        if sample.id == "named":
            return Score(value=1.0, scores={"part": float("nan")})
        if sample.id == "nothing":
            return None  # type: ignore[return-value]  # what a careless scorer does
        return Score(value=1.0, scores={"part": 0.5})

    names = ("raises", "beyond", "nan", "infinite", "named", "nothing", "good")
    return Task(samples=[Sample(id=name, input=name) for name in names], scorers=[_scorer(grade)])


@task
def unpromptable() -> Task:
    """The second sample is no text: its prompt cannot be rendered."""
    bad = Message(role="system", content=17)  # type: ignore[arg-type]
    samples = [Sample(id="good", input="What is 1 + 1?", target="2"), Sample(id="bad", input=(bad,), target="2")]
    return Task(samples=samples, scorers=[number()])


async def _grade_program(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
    assert context.sandbox is not None
    result = await context.sandbox.exec(["python3", "-c", submission.answer or "raise SystemExit(1)"])
    return Score(value=float(result.ok), explanation=result.stderr.decode("utf-8", "replace"))


@task
def programs() -> Task:
    """Answered in text or in a box, graded by running."""
    return Task(
        samples=[Sample(id="p", input="A program that ends well.", solution="print(1)")],
        requires=("shell", "python"),
        answer_file="answer.py",
        agent_prompt="Write answer.py.",
        scorers=[_scorer(_grade_program, "program", requires=("python",))],
    )


@task
def words_in_box() -> Task:
    """Needs a shell to be answered, none to be graded."""
    samples = [Sample(id="w", input="What is in note.txt?", target="plum", files={"note.txt": "plum\n"})]
    return Task(samples=samples, requires=("shell",), answer_file="answer.txt", scorers=[exact()])


async def _nobody_left(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
    assert context.sandbox is not None
    listing = await context.sandbox.exec(["sh", "-c", "grep -l left_b[e]hind /proc/[0-9]*/cmdline 2>/dev/null; true"])
    kept = await context.sandbox.read_file("kept.txt")
    return Score(value=float(not listing.stdout.strip() and kept == b"kept\n"), explanation=listing.stdout.decode())


@task
def workspace() -> Task:
    """Only files in the box count."""
    return Task(
        samples=[Sample(id="f", input="Leave kept.txt.")],
        requires=("shell",),
        answer="workspace",
        scorers=[_scorer(_nobody_left, "nobody_left", requires=("shell",))],
    )


@task
def mixed() -> Task:
    """Plain samples and samples that need a box, of one task."""
    plain = [Sample(id=f"plain{i}", input="Say plum.", target="plum") for i in range(4)]
    boxed = [Sample(id="boxed", input="Say plum.", target="plum", requires=("shell",))]
    return Task(samples=[*plain, *boxed], scorers=[exact()])


@task
def unroutable() -> Task:
    """Each sample that cannot be routed, and one that can."""
    samples = [
        Sample(id="good", input="What is 1 + 1?", target="2"),
        Sample(id="unknown", input="?", requires=("teleport",)),  # type: ignore[arg-type]
        Sample(id="missing", input="?", requires=("gpu",)),
        Sample(id="files", input="?", files={"a.txt": "a"}),
    ]
    return Task(samples=samples, scorers=[number()])


@task
def cramped() -> Task:
    limits = Limits(memory_mb=64)
    return Task(samples=_sums(1), requires=("shell",), box=BoxNeeds(limits=limits), scorers=[number()])


@task
def big_files() -> Task:
    """More files than a workspace of 1 MB holds."""
    samples = [Sample(id="big", input="?", target="x", files={"big.txt": "x" * (3 << 20)})]
    return Task(samples=samples, requires=("shell",), answer_file="a.txt", scorers=[exact()])


@task
def malformed() -> Task:
    source = MemorySource([{"question": "no id"}])
    return Task(source=source, to_sample=lambda row: Sample(id=row["id"], input="x"), scorers=[number()])


def _ask(url: str) -> tuple[ToolCall, ...]:
    code = f"import urllib.request as u\ntry: u.urlopen({url!r})\nexcept OSError as e: print(e)\nopen('done', 'w')"
    return (ToolCall(id="1", name="python", arguments={"code": code}), ToolCall(id="2", name="submit", arguments={}))


async def _done(sample: Sample, submission: Submission, context: ScoreContext) -> Score:
    assert context.sandbox is not None
    return Score(value=float(await context.sandbox.read_file("done") == b""))


@task
def networked() -> Task:
    """Boxes with and without a network; the reference asks for a page."""
    return Task(
        samples=[
            Sample(id="listed", input="?", solution=_ask("http://nowhere.example.invalid/")),
            Sample(id="unlisted", input="?", solution=_ask("https://elsewhere.example.net/")),
            Sample(id="own", input="?", network=("elsewhere.example.net",), solution=_ask("http://10.0.0.1/")),
            Sample(id="none", input="?", network=(), solution=_ask("http://nowhere.example.invalid/")),
            Sample(id="all", input="?", network=("*",), solution=_ask("http://nowhere.example.invalid/")),
            Sample(id="wrong", input="?", network=("10.0.0.1",), solution=_ask("http://10.0.0.1/")),
        ],
        requires=("shell", "network"),
        answer="workspace",
        box=BoxNeeds(network=("*.example.invalid",)),
        scorers=[_scorer(_done, name="done", requires=("python",))],
    )
