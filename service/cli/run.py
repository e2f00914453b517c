"""`agentlab run`: tasks, a model and a harness to scored, stored trials."""

from __future__ import annotations

import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import ABSENT, boundary, fail

if TYPE_CHECKING:
    from agentlab.sandboxes.protocol import Say
    from agentlab.service.config import RunConfig
    from agentlab.service.launch import RunEnd
    from agentlab.service.prepare import Plan


NO_MODEL_YET = "reference"
"""Stands in for the model where only the plan is asked for, which does not depend on it."""


@click.command()
@click.argument("tasks", nargs=-1, metavar="TASK...")
@click.option(
    "--model",
    metavar="MODEL",
    help="http://HOST:PORT/v1#NAME, vllm/NAME, openai/NAME, or reference, nop, random, majority.",
)
@click.option("--harness", metavar="NAME", help="A preset (direct, tools) or a YAML file.  [default: direct]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="A seeded sample of N samples of each task.")
@click.option("--epochs", type=click.IntRange(1), metavar="N", help="Trials of each sample.  [default: 1]")
@click.option("--seed", type=int, metavar="N", help="Seed of everything that is drawn.  [default: 0]")
@click.option(
    "--sandbox", type=click.Choice(["docker", "bubblewrap", "modal"]), help="Where code runs.  [default: docker]"
)
@click.option(
    "--max-connections", type=click.IntRange(1), metavar="N", help="Requests under way at once.  [default: 64]"
)
@click.option(
    "--max-sandboxes", type=click.IntRange(1), metavar="N", help="Boxes in use at once.  [default: by cores and memory]"
)
@click.option(
    "--max-cost", type=click.FloatRange(0, min_open=True), metavar="USD", help="Stop once the run has cost this much."
)
@click.option(
    "--runs-dir", type=click.Path(file_okay=False), metavar="DIR", help="Where runs are kept.  [default: runs]"
)
@click.option(
    "--allow-network",
    is_flag=True,
    default=None,
    help="Give tasks of others, and those that ask for '*', their network.",
)
@click.option("--name", metavar="TEXT", help="A name for the run.")
@click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A tag for the run; may be repeated.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any field of the harness; may be repeated."
)
@click.option("--plan", "plan_only", is_flag=True, help="Print which way each sample would go, and stop.")
@click.option("--resume", metavar="RUN", help="Go on with a run: an id, a unique prefix, a path, or latest.")
@click.option("--fail-on-error", is_flag=True, help="Exit with 1 where any trial ended in an error.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")
def run(
    tasks: tuple[str, ...],
    settings: tuple[str, ...],
    plan_only: bool,
    resume: str | None,
    fail_on_error: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Run tasks with a model and a harness; store every step, and print scores with their errors.

    \b
    agentlab run gsm8k --model http://127.0.0.1:8000/v1#NAME
    agentlab run humaneval gsm8k --model vllm/NAME --harness tools --limit 50
    agentlab run my_task.py::arithmetic --model reference --plan
    """
    # Once trials are under way the runner takes the signal itself, drains, and ends normally.
    with boundary(interrupted="stopped before the run began"):
        resumed = None if resume is None else _find_run(resume, flags)
        config = (
            _resumed_config(resumed, tasks, settings, flags) if resumed else _config(tasks, settings, flags, plan_only)
        )
        plan = _plan(config)
        if plan_only:
            _print_plan(plan, as_json)
            return
        _refuse_what_has_no_way(plan)
        end = _launch(plan, resumed, quiet=as_json)
        _print_end(end, plan, as_json, [] if resumed else _given(flags, settings))
    if end.status == "unreachable":
        raise SystemExit(ABSENT)
    if end.status == "incomplete" or (fail_on_error and (end.summary.failed or end.status != "finished")):
        raise SystemExit(1)
    if end.status == "interrupted":
        raise SystemExit(130)
    if end.status == "stopped":
        raise SystemExit(143)


def _config(
    tasks: tuple[str, ...], settings: tuple[str, ...], flags: dict[str, Any], plan_only: bool = False
) -> RunConfig:
    from pydantic import ValidationError

    from agentlab.service.config import RunConfig, default_sandbox, told_in_a_line
    from agentlab.service.harness import load_harness

    if not tasks:
        fail("name a task or a suite: agentlab run quickstart --model reference; `agentlab tasks list` shows all")
    harness = load_harness("direct" if flags["harness"] is None else flags["harness"], settings)
    model = flags["model"] or harness.model or (NO_MODEL_YET if plan_only else "")
    if not model:
        fail("name a model: --model http://HOST:PORT/v1#NAME, or --model reference to try the task itself")
    given = {key: value for key, value in flags.items() if value is not None and key not in ("harness", "model")}
    given.setdefault("sandbox", default_sandbox())
    try:
        return RunConfig(tasks=tasks, model=model, harness=harness, **given)
    except ValidationError as error:
        fail(told_in_a_line(error))


def _resumed_config(
    run_dir: Path, tasks: tuple[str, ...], settings: tuple[str, ...], flags: dict[str, Any]
) -> RunConfig:
    from agentlab.service.harness import load_harness, with_settings
    from agentlab.service.resume import stored_config, stored_harness
    from agentlab.traces.document import read_document

    document = read_document(run_dir)
    overrides = {key: value for key, value in flags.items() if value not in (None, ()) and key != "harness"}
    overrides["runs_dir"] = str(run_dir.parent)
    if tasks:
        overrides["tasks"] = tasks
    if flags["harness"] is not None:
        overrides["harness"] = load_harness(flags["harness"], settings)
    elif settings:
        overrides["harness"] = with_settings(stored_harness(document), settings)
    return stored_config(document, overrides)


def _find_run(reference: str, flags: dict[str, Any]) -> Path:
    from agentlab.traces.catalogue import resolve_run

    if not reference:
        fail("--resume names no run: give an id, a unique prefix, a path, or latest")
    return resolve_run(reference, Path(flags["runs_dir"] or "runs"))


def _plan(config: RunConfig) -> Plan:
    from agentlab.service.boxes import offered_by
    from agentlab.service.prepare import prepare

    return prepare(config, partial(offered_by, config.sandbox))


def _refuse_what_has_no_way(plan: Plan) -> None:
    """Say why no sample at all can be routed, once: in a run it would be an error of each."""
    from agentlab.service.planner import Refusal

    reasons = dict.fromkeys(f"{row.task}: {row.route.reason}" for row in plan.rows if isinstance(row.route, Refusal))
    if all(isinstance(row.route, Refusal) for row in plan.rows):
        first, *more = (*reasons, *(problem.message for problem in plan.problems))
        fail(first + (f" (and {len(more)} more: --plan shows all)" if more else ""))


def _launch(plan: Plan, resumed: Path | None, *, quiet: bool) -> RunEnd:
    import gc

    from agentlab.service import event_loop
    from agentlab.service.launch import launch

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    _warn_of_equal_epochs(plan, say)
    # What is loaded by now stays: looking through it again and again cost a tenth of a plain question's CPU time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)

    async def go() -> RunEnd:
        return await launch(plan, resume=resumed, quiet=quiet, say=say)

    return event_loop.run(go)


def _warn_of_equal_epochs(plan: Plan, say: Say) -> None:
    """Several epochs at temperature 0 draw the same answer again and again, and measure nothing new."""
    from agentlab.models.resolve import SCRIPTED
    from agentlab.service.config import effective_sampling

    config = plan.config
    if config.epochs == 1 or config.model in SCRIPTED:
        return
    cold = [f.task.name for f in plan.surveys if effective_sampling(f.task, config.harness).temperature == 0]
    if cold:
        say(
            f"{config.epochs} epochs at temperature 0 ask for the same answer each time ({', '.join(cold)}): "
            "--set sampling.temperature=0.7 draws different ones"
        )


def _print_plan(plan: Plan, as_json: bool) -> None:
    from agentlab.service import event_loop
    from agentlab.service.boxes import absent, isolation_of, room_for
    from agentlab.service.prepare import boxes_table, plan_table

    rows = plan_table(plan.rows)
    config = plan.config
    boxes = []
    if plan.specs:
        room = room_for(config.sandbox, config.max_sandboxes)
        boxes = boxes_table(plan.specs, isolation_of(config.sandbox), room)
    why_absent = event_loop.run(absent, config.sandbox) if plan.images else ""
    if as_json:
        problems = [{"task": problem.name, "message": problem.message} for problem in plan.problems]
        print(json.dumps({"plan": rows, "boxes": boxes, "absent": why_absent, "problems": problems}, indent=2))
        return
    from agentlab.service.cli.tables import print_plan

    print_plan(rows, boxes, why_absent, plan)


def _given(flags: dict[str, Any], settings: tuple[str, ...]) -> list[str]:
    """What decides how tasks are run, as it was typed."""
    said = [f"--set={setting}" for setting in settings]
    for name in ("harness", "sandbox", "epochs"):
        if flags[name] is not None:
            said += [f"--{name}", str(flags[name])]
    return [*said, "--allow-network"] if flags["allow_network"] else said


def _print_end(end: RunEnd, plan: Plan, as_json: bool, given: list[str]) -> None:
    """`given`: what was said of how to run the tasks, to be said again with a real model."""
    if as_json:
        print(json.dumps({**end.summary.as_dict(), "status": end.status}))
        return
    from agentlab.service.cli.tables import print_summary
    from agentlab.service.resume import resume_command

    print_summary(end.summary.as_dict(), end.status)
    if end.status != "finished":
        print(f"\nresume with: {resume_command(end.run_dir, plan.config, end.status)}")
    elif plan.config.model in ("reference", "nop") and not end.summary.failed:
        names, how = shlex.join(plan.config.tasks), shlex.join(given)
        print(f"\nnow with a real model: agentlab run {names} --model http://HOST:PORT/v1#NAME {how}".rstrip())
    if end.status == "cost":
        print(f"stopped at --max-cost {plan.config.max_cost}")
