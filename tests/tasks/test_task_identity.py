"""Identity of tasks: golden hashes, what changes them and what does not, and the seeded selection of samples."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.models.protocol import Sampling
from agentlab.sandboxes.protocol import Limits
from agentlab.tasks import (
    BoxNeeds,
    FewShot,
    MemorySource,
    Sample,
    Score,
    Scorer,
    Task,
    TaskError,
    diff_payloads,
    survey,
    task_identity,
)
from agentlab.tasks.identity import canonical_json, hash_payload
from agentlab.tasks.sampling import select
from agentlab.traces.events import Message, ToolCall, ToolSpec

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
NAMES = st.sampled_from(["name", "a", "b.c"])


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)


def grade(sample: Sample, submission: object, context: object) -> Score:
    return Score(value=1.0)


RIGHT = Scorer("right", grade)
EXAMPLES = MemorySource([{"id": "e", "input": "1+1", "target": "2"}, {"id": "f", "input": "1+2", "target": "3"}])
PLAIN = Task(name="plain", samples=(Sample(id="1", input="q", target="a"),), scorers=[RIGHT])
RICH = Task(
    name="rich:2shot",
    version=3,
    samples=(
        Sample(
            id="1",
            input=(Message(role="user", content="q"),),
            target=("A", "B"),
            choices=("x", "y"),
            files={"a.py": "x = 1"},
            tools=(ToolSpec("f", "does", {"type": "object"}),),
            requires=("shell",),
            cluster="c",
            group="g",
            solution=(ToolCall("1", "bash", {"command": "ls"}),),
            metadata={"b": 1, "a": [1, 2]},
        ),
    ),
    prompt="Q: {input}",
    agent_prompt="Put it there.",
    system="Be brief.",
    prompt_mode="raw",
    method="loglikelihood",
    fewshot=FewShot(EXAMPLES, 2),
    sampling=Sampling(temperature=0.5, stop=("\n",)),
    requires=("python",),
    answer="workspace",
    answer_file="answer.txt",
    box=BoxNeeds(image="own:1", limits=Limits(memory_mb=1024), timeout_s=30.0),
    scorers=[RIGHT, Scorer("other", grade, version=2, params={"k": 1})],
)


def test_golden_hashes_hold() -> None:
    """If this fails, every stored run refuses to resume and no result can be compared with an older one. A new field
    needs a default that is left out; a change of meaning needs a higher `identity.SCHEMA`, and new values here.
    """
    assert task_identity(PLAIN).task_hash == "02cdc07ac7a16e39eedcc5a3ae79c994467244a82f18750d5aa292c60b3021ee"
    assert task_identity(RICH).task_hash == "db81c1dbe101ecf18c0fbdd07dea0392d2b2a8278ff3d894a6bff4bbb6872d80"


def test_the_payload_holds_what_differs_from_the_defaults_and_nothing_else() -> None:
    assert task_identity(PLAIN).payload.keys() == {"schema", "name", "scorers", "samples"}
    payload = task_identity(RICH).payload
    assert payload["box"] == {"image": "own:1", "limits": {"memory_mb": 1024}, "timeout_s": 30.0}
    assert payload["sampling"] == {"temperature": 0.5, "stop": ["\n"]}
    assert payload["scorers"][1] == {"name": "other", "version": 2, "params": {"k": 1}}
    assert payload == msgspec.json.decode(canonical_json(payload)), "what is stored compares equal to what is made"


CHANGES: list[Callable[[Task], Task]] = [
    lambda task: dataclasses.replace(task, prompt="{input}!"),
    lambda task: dataclasses.replace(task, prompt_mode="raw"),
    lambda task: dataclasses.replace(task, system="s"),
    lambda task: dataclasses.replace(task, version=2),
    lambda task: dataclasses.replace(task, method="loglikelihood"),
    lambda task: dataclasses.replace(task, sampling=Sampling(max_tokens=9)),
    lambda task: dataclasses.replace(task, scorers=[Scorer("right", grade, version=2)]),
    lambda task: dataclasses.replace(task, scorers=[Scorer("right", grade, params={"a": 1})]),
    lambda task: dataclasses.replace(task, fewshot=FewShot(EXAMPLES, 1)),
    lambda task: dataclasses.replace(task, samples=(Sample(id="1", input="q", target="b"),)),
    lambda task: dataclasses.replace(task, samples=(Sample(id="2", input="q", target="a"),)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_result_depends_on_changes_the_hash(change: Callable[[Task], Task]) -> None:
    assert task_identity(change(PLAIN)).task_hash != task_identity(PLAIN).task_hash


def test_what_no_result_depends_on_does_not() -> None:
    described = dataclasses.replace(
        PLAIN, description="d", licence="MIT", paper="p", origin="/a/b.py:1", fewshot=FewShot(EXAMPLES, 0)
    )
    assert task_identity(described).task_hash == task_identity(PLAIN).task_hash
    mixed = {"b": 1, "a": {"d": 1, "c": 2}}
    ordered = {"a": {"c": 2, "d": 1}, "b": 1}
    one, two = (
        dataclasses.replace(PLAIN, samples=(Sample(id="1", input="q", metadata=metadata),))
        for metadata in (mixed, ordered)
    )
    assert task_identity(one).task_hash == task_identity(two).task_hash


def test_a_new_field_with_a_default_changes_no_hash() -> None:
    """Acted out on the encodings that the hash is over: a Sample and a Sampling with one field more."""

    class WiderSample(Sample, frozen=True, omit_defaults=True, kw_only=True):
        difficulty: str = ""

    class WiderSampling(Sampling, frozen=True, omit_defaults=True):
        min_p: float | None = None

    wider = dataclasses.replace(PLAIN, samples=(WiderSample(id="1", input="q", target="a"),), sampling=WiderSampling())
    assert task_identity(wider).task_hash == task_identity(PLAIN).task_hash


def test_the_difference_of_two_payloads_is_readable() -> None:
    changed = dataclasses.replace(PLAIN, prompt="Q: {input}", scorers=[Scorer("right", grade, version=2)])
    lines = diff_payloads(task_identity(PLAIN).payload, task_identity(changed).payload)
    assert lines == ["scorers.right.version: 1 -> 2", 'prompt: not set -> "Q: {input}"']
    other = dataclasses.replace(PLAIN, samples=(Sample(id="1", input="another", target="a"),))
    assert diff_payloads(task_identity(PLAIN).payload, task_identity(other).payload) == ["the samples have changed"]
    assert diff_payloads({"a": {}, "b": None, "c": ["x"]}, {"c": ("x", "y")}) == [
        "a: {} -> not set",
        "b: none -> not set",
        'c: ["x"] -> ["x", "y"]',
    ]


def test_a_difference_deep_in_a_text_is_shown() -> None:
    (line,) = diff_payloads({"a": "x" * 500 + "old" + "y" * 500}, {"a": "x" * 500 + "new" + "y" * 500})
    assert "xold" in line and "xnew" in line and len(line) < 250


@given(st.recursive(ATOMS, containers), st.recursive(ATOMS, containers))
def test_payloads_of_other_hashes_always_differ_in_words(one: Any, other: Any) -> None:
    same = hash_payload({"a": one}) == hash_payload({"a": other})
    assert bool(diff_payloads({"a": one}, {"a": other})) is not same


def test_records_are_told_by_name_and_their_order_counts() -> None:
    tools = [{"name": "read", "description": "a"}, {"name": "edit", "description": "b"}]
    assert diff_payloads({"tools": tools}, {"tools": tools[::-1]}) == ["tools: read, edit -> edit, read"]
    assert diff_payloads({"tools": tools}, {"tools": [tools[0]]}) == ["tools: read, edit -> read"]
    changed = [tools[0], {**tools[1], "description": "c"}]
    assert diff_payloads({"tools": tools}, {"tools": changed}) == ['tools.edit.description: "b" -> "c"']


def test_a_payload_that_cannot_be_written_down_is_an_error() -> None:
    with pytest.raises(TaskError, match="cannot be written down"):
        hash_payload({"params": object()})


def many(n: int) -> Task:
    rows = [
        {"id": f"s{i}", "input": "q", "group": "ab"[i % 2], "requires": ["shell"] if i % 4 == 0 else None}
        for i in range(n)
    ]
    return Task(name="many", source=MemorySource(rows), scorers=[RIGHT])


class TestSurvey:
    def test_it_counts_what_is_taken(self) -> None:
        found = survey(many(100))
        assert (found.n, found.n_total) == (100, 100)
        assert found.groups == {"a": 50, "b": 50}
        assert found.requires == {("shell",): 25, (): 75}

    def test_a_limit_takes_of_the_whole_task_and_leaves_its_hash(self) -> None:
        whole, part = survey(many(100)), survey(many(100), limit=10, seed=1)
        assert part.identity == whole.identity
        assert (part.n, sum(part.groups.values())) == (10, 10)

    def test_samples_come_in_order_and_the_same_each_time(self) -> None:
        found = survey(many(50), limit=7, seed=3)
        first = [(place, sample.id) for place, sample in found.samples()]
        assert [place for place, _ in first] == list(range(7))
        assert [int(name[1:]) for _, name in first] == sorted(int(name[1:]) for _, name in first)
        assert first == [(place, sample.id) for place, sample in found.samples()]
        assert [place for place, _ in survey(many(5)).samples()] == [0, 1, 2, 3, 4]

    def test_they_are_run_in_the_order_of_the_draw(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that ended early had measured the beginning of a file that is sorted by subject."""
        order = list(survey(many(100), seed=3).shuffled())
        assert order == list(survey(many(100), seed=3).shuffled()) != list(survey(many(100), seed=4).shuffled())
        assert sorted(order, key=lambda taken: taken[0]) == list(survey(many(100)).samples())
        drawn = {sample.id for _, sample in survey(many(100), limit=10, seed=3).samples()}
        assert {sample.id for _, sample in order[:10]} == drawn
        monkeypatch.setattr("agentlab.tasks.identity.IN_HAND", 7)
        assert list(survey(many(100), seed=3).shuffled()) == order, "in several readings as in one"

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_limit_below_one_is_refused(self, limit: int) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            survey(many(3), limit=limit)

    def test_real_data_is_hashed_by_its_bytes(self, reference_data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from agentlab.tasks import DataSource

        monkeypatch.setenv("AGENTLAB_DATA", str(reference_data))
        source = DataSource("hf://openai/gsm8k/main/test")
        task = Task(
            name="gsm8k",
            source=source,
            to_sample=lambda row: Sample(id=str(hash(row["question"])), input=row["question"], target=row["answer"]),
            scorers=[RIGHT],
        )
        found = survey(task, limit=50, seed=1)
        assert (found.n_total, found.n) == (1319, 50)
        assert found.identity.payload["data"] == source.identity()


IDS = st.lists(st.text(min_size=1), min_size=1, max_size=60, unique=True)


class TestSelection:
    @given(IDS, st.integers(1, 60), st.integers(1, 60), st.integers())
    def test_a_smaller_limit_takes_some_of_the_larger(self, ids: list[str], a: int, b: int, seed: int) -> None:
        small, large = (select(ids, task_name="t", limit=limit, seed=seed) for limit in sorted((a, b)))
        assert set(small) <= set(large)
        assert len(large) == min(max(a, b), len(ids))
        assert large == sorted(large)

    @given(IDS, st.integers(1, 60), st.integers())
    def test_the_order_of_rows_does_not_matter(self, ids: list[str], limit: int, seed: int) -> None:
        shuffled = random.Random(seed).sample(ids, len(ids))
        taken = {ids[i] for i in select(ids, task_name="t", limit=limit, seed=seed)}
        assert taken == {shuffled[i] for i in select(shuffled, task_name="t", limit=limit, seed=seed)}

    def test_seed_and_task_matter_and_the_draw_is_fixed(self) -> None:
        ids = [f"s{i}" for i in range(1000)]
        draws = {
            (name, seed): tuple(select(ids, task_name=name, limit=5, seed=seed)) for name in "ab" for seed in (0, 1)
        }
        assert len(set(draws.values())) == 4
        assert draws["a", 0] == (69, 355, 458, 854, 897)

    def test_every_sample_is_as_likely_as_another(self) -> None:
        counts = [0] * 20
        ids = [f"row-{i}" for i in range(20)]
        for seed in range(2000):
            for i in select(ids, task_name="t", limit=5, seed=seed):
                counts[i] += 1
        assert all(abs(count - 500) < 100 for count in counts), "5 standard errors of a binomial(2000, 1/4)"
