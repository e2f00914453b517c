"""A task's network: who may open it, what the plan and the model are told, and what the trace holds of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentlab.service.harness import load_harness
from agentlab.service.launch import system_of
from agentlab.service.planner import Place, Planner, Refusal, Route
from agentlab.service.prepare import Plan, plan_table
from agentlab.tasks import BoxNeeds, Sample, Score, Scorer, Task
from agentlab.tasks.types import Terms
from agentlab.traces.events import ErrorRaised, ModelCall, NetworkAccess, SandboxEnd, SandboxStart

from .conftest import Run

READ = Scorer(name="read", grade=lambda sample, submission, context: Score(value=1.0))
OFFERED = frozenset({"shell", "python", "network"})


def route(
    network: tuple[str, ...], *, permitted: bool = False, offered: frozenset[Any] = OFFERED, **needs: Any
) -> Route | Refusal:
    planner = Planner(load_harness("tools"), "docker", lambda image: offered, terms=Terms(network=permitted))
    task = Task(name="t", requires=("shell",), box=BoxNeeds(network=network, **needs), scorers=[READ])
    return planner.route(task, Sample(id="s", input="?"))


def refused(*parts: Any, **named: Any) -> str:
    found = route(*parts, **named)
    assert isinstance(found, Refusal), found
    return found.reason


def test_the_hosts_that_a_persons_own_task_lists_are_open() -> None:
    found = route(("pypi.org", "*.pythonhosted.org:443"))
    assert isinstance(found, Route) and found.spec is not None
    assert found.spec.network == ("pypi.org", "*.pythonhosted.org:443")
    assert found.document()["network"] == ["pypi.org", "*.pythonhosted.org:443"]


def test_the_whole_network_and_that_of_others_want_a_word_of_the_person() -> None:
    assert refused(("*",)) == "asks for a network (the whole network): --allow-network gives it one"
    assert refused(("pypi.org",), foreign=True) == "asks for a network (pypi.org): --allow-network gives it one"
    verifier = BoxNeeds(network=("pypi.org", "*"))
    assert "--allow-network" in refused((), verifiers=(("", verifier),))
    for found in (
        route(("*",), permitted=True),
        route(("pypi.org",), permitted=True, foreign=True),
        route((), permitted=True, verifiers=(("", verifier),)),
    ):
        assert isinstance(found, Route)


def test_what_cannot_be_given_is_refused_with_the_reason() -> None:
    offered = frozenset({"shell", "python"})
    told = "asks for a network (pypi.org), which docker with image agentlab/python:latest does not offer"
    assert refused(("pypi.org",), offered=offered) == told
    assert refused(("10.0.0.1",), permitted=True).startswith("asks for a network that cannot be given: network: '10.0")
    assert "80 and 443" in refused(("pypi.org:22",))
    assert isinstance(route((), offered=offered), Route)


def test_a_network_without_a_host_is_none() -> None:
    planner = Planner(load_harness("tools"), "docker", lambda image: OFFERED)
    task = Task(name="t", requires=("shell", "network"), scorers=[READ])
    found = planner.route(task, Sample(id="s", input="?"))
    assert isinstance(found, Refusal) and "lists no host" in found.reason
    listed = planner.route(task, Sample(id="s", input="?", network=("pypi.org",)))
    assert isinstance(listed, Route)


def test_a_sample_may_have_hosts_of_its_own_and_none() -> None:
    task = Task(name="t", requires=("shell",), box=BoxNeeds(network=("pypi.org",), image="x"), scorers=[READ])
    planner = Planner(load_harness("tools"), "docker", lambda image: OFFERED)
    networks = {}
    for name, network in {"task's": None, "own": ("example.org",), "none": (), "same": ("pypi.org",)}.items():
        found = planner.route(task, Sample(id=name, input="?", network=network))
        assert isinstance(found, Route) and found.spec is not None and found.spec.image == "x"
        networks[name] = found.spec.network
    assert networks == {"task's": ("pypi.org",), "own": ("example.org",), "none": (), "same": ("pypi.org",)}


def test_a_direct_answer_needs_no_network_and_no_permission() -> None:
    task = Task(name="t", requires=("shell",), box=BoxNeeds(network=("*",)), scorers=[READ])
    found = Planner(load_harness("direct"), "docker", lambda image: OFFERED).route(task, Sample(id="s", input="?"))
    assert isinstance(found, Route) and found.spec is None


def test_the_plan_shows_every_network(plan: Callable[..., Plan]) -> None:
    rows = {row["network"]: row for row in plan_table(plan("networked", model="reference", harness="tools").rows)}
    assert {network: row["n"] for network, row in rows.items() if network} == {
        "*.example.invalid": 2, "elsewhere.example.net": 1
    }  # fmt: skip
    reasons = [row["why"] for row in plan_table(plan("networked", harness="tools").rows) if row["agent"] == "refused"]
    assert len(reasons) == 3 and any("lists no host" in reason for reason in reasons)
    permitted = plan_table(plan("networked", harness="tools", allow_network=True).rows)
    assert [row["n"] for row in permitted if row["network"] == "*"] == [1]


@pytest.mark.parametrize("sandbox", ["docker", "bubblewrap"])
async def test_a_run_tells_of_each_connection_and_what_is_refused_is_a_task_error(
    run: Run, docker: None, sandbox: str
) -> None:
    ran = await run("networked", model="reference", harness="tools", sandbox=sandbox)
    assert {name: row.outcome for name, row in ran.rows.items()} == {
        "listed": "scored",
        "unlisted": "scored",
        "own": "scored",
        "none": "task",
        "all": "task",
        "wrong": "task",
    }
    assert all(row.value == 1.0 for row in ran.rows.values() if row.outcome == "scored")
    (failed,) = ran.events("listed", NetworkAccess)
    assert (failed.host, failed.verdict, failed.reason) == ("nowhere.example.invalid", "failed", "unresolved")
    (unlisted,) = ran.events("unlisted", NetworkAccess)
    assert (unlisted.host, unlisted.port, unlisted.verdict) == ("elsewhere.example.net", 443, "refused")
    (address,) = ran.events("own", NetworkAccess)
    assert (address.host, address.reason) == ("10.0.0.1", "not_listed")
    kinds = [type(event) for event in ran.events("unlisted")]
    assert kinds.index(SandboxStart) < kinds.index(NetworkAccess) < kinds.index(SandboxEnd)
    (refusal,) = ran.events("all", ErrorRaised)
    assert refusal.kind == "unroutable" and "--allow-network" in refusal.message
    call, *_ = ran.events("listed", ModelCall)
    assert "through the proxy that HTTP_PROXY and HTTPS_PROXY name it reaches *.example.invalid and nothing else" in (
        call.messages[0].text
    )
    assert {row["network"] for row in ran.document["plan"]} == {"*.example.invalid", "elsewhere.example.net", ""}


def test_what_a_model_is_told_is_written_down(repository: Path) -> None:
    found = route(("pypi.org", "*.pythonhosted.org"))
    everywhere = route(("*",), permitted=True)
    assert isinstance(found, Route) and isinstance(everywhere, Route)
    page = " ".join((repository / "docs" / "network.md").read_text(encoding="utf-8").split())
    assert system_of("You work.", found).removeprefix("You work.\n\n") in page
    assert "it reaches every public host, over HTTP and HTTPS." in system_of("", everywhere)
    assert system_of("You work.", replace(found, agent=Place("direct"))) == "You work."


def test_a_network_changes_the_tasks_hash_and_its_absence_does_not() -> None:
    from agentlab.tasks.identity import task_identity

    plain = Task(name="t", samples=[Sample(id="s", input="?", target="1")], scorers=[READ])
    opened = replace(plain, box=BoxNeeds(network=("pypi.org",)))
    own = replace(plain, samples=[Sample(id="s", input="?", target="1", network=("pypi.org",))])
    hashes = {task_identity(task).task_hash for task in (plain, opened, own)}
    assert len(hashes) == 3
    assert task_identity(replace(plain, box=BoxNeeds())).task_hash == task_identity(plain).task_hash
