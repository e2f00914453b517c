"""`agentlab tasks`: start one, list them, show one, and check that its reference passes and doing nothing does not."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option

if TYPE_CHECKING:
    from agentlab.tasks.definitions import TaskDefinition
    from agentlab.tasks.registry import Resolution, TaskInfo
    from agentlab.tasks.suites import ResolvedSuite
    from agentlab.tasks.types import Sample, Task

COMBINED = {
    "mean": "the mean of its members, each weighed alike",
    "sample_weighted": "the mean of its members, weighed by their samples",
    "none": "no value of its own",
}
"""How a suite's members become one value, by `Suite.combine`."""

PROMPTS = {
    "first_prompt": "without a box (--harness direct)",
    "first_prompt_in_box": "in a box (--harness tools), behind the harness's own system prompt",
}
"""The first sample as a model sees it, by the route that it takes."""
KINDS = ("suite", "questions", "work in a box")
"""What a table lists together."""


@click.group()
def tasks() -> None:
    """List, show, check and start tasks of your own."""


@tasks.command("init")
@click.argument("path", default="my_task.py", type=click.Path(dir_okay=False))
def init(path: str) -> None:
    """Write a small task file to start from."""
    from agentlab.tasks.template import task_file

    target = Path(path if path.endswith(".py") else f"{path}.py")
    if target.exists():
        fail(f"{target} is there already; name another file")
    name = "".join(letter if letter.isalnum() else "_" for letter in target.stem)
    with boundary():
        text = task_file(name)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{target} cannot be written: {error.strerror}")
    print(f"wrote {target}; try: agentlab tasks check {target}")


@tasks.command("list")
@click.argument("file", required=False)
@json_option
def list_all(file: str | None, as_json: bool) -> None:
    """List tasks and suites by name; of FILE.py only, where one is given."""
    from agentlab.service.cli.tables import console, print_hint, print_table
    from agentlab.tasks.registry import discovered, list_tasks, load_file

    catalog = load_file(Path(file)) if file else discovered()
    infos = list_tasks(catalog)
    if as_json:
        keys = ("name", "kind", "group", "requires", "variants", "members", "licence", "description")
        print(json.dumps([{key: getattr(info, key) for key in keys} for info in infos], indent=2))
    elif infos:
        rows = sorted(
            ([info.name, _kind(info), ", ".join(info.requires), info.licence, info.description] for info in infos),
            key=lambda row: (KINDS.index(row[1]), row[0]),
        )
        headings = ("name", "kind", "requires", "licence", "what it is")
        print_table(console(), headings, rows, spare=("licence",), shrink="what it is")
        print_hint(f"variants, data and the first prompt: agentlab tasks show {f'{file}::NAME' if file else 'NAME'}")
    for problem in catalog.problems:
        print(f"agentlab: {problem}", file=sys.stderr)
    if not infos and catalog.problems:
        raise SystemExit(2)


def _kind(info: TaskInfo) -> str:
    return "suite" if info.kind == "suite" else KINDS[2 if info.requires else 1]


@tasks.command("show", short_help="Show what a task asks, needs and scores.")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a task: what it asks, what it requires, how it is scored, its variants, and its first sample as the model
    would see it on each route. Of a suite: its members, and how their scores become one.
    """
    from agentlab.service.cli.tables import console
    from agentlab.tasks.registry import resolve
    from agentlab.traces.render import clean

    with boundary():
        resolution = resolve([name])
        suite = _suite(name, resolution)
        if suite is not None:
            _show_suite(suite, resolution, as_json)
            return
        task = _one(name, resolution)
        described = _describe(task, _definition(name, task))
    if as_json:
        print(json.dumps(described, indent=2))
        return
    prompts = {how: described.pop(key) for key, how in PROMPTS.items()}
    _print_facts(described)
    for how, messages in prompts.items():
        for message in messages:
            where = f", {how}" if described["requires"] else ""
            console().print(f"\n[dim]{message['role']}{where}[/dim]")
            console().print(clean(message["content"]), markup=False)


def _suite(name: str, resolution: Resolution) -> ResolvedSuite | None:
    """The suite that `name` is the name of; None where it names a task or a whole file."""
    from agentlab.tasks.registry import split_file

    _, member = split_file(name)
    return next((suite for suite in resolution.suites if suite.name == member), None)


def _show_suite(suite: ResolvedSuite, resolution: Resolution, as_json: bool) -> None:
    from agentlab.service.cli.tables import console, print_table
    from agentlab.traces.render import clean

    what = {task.name: task.description for task in resolution.tasks}
    members = [
        (member, what.get(member, "")) if isinstance(member, str) else (member.name, member.suite.description)
        for member in suite.members
    ]
    described: dict[str, Any] = {
        "name": suite.name,
        "kind": "suite",
        "description": suite.suite.description,
        "combine": suite.suite.combine,
        "members": [member for member, _ in members],
        "missing": list(suite.failed),
    }
    if as_json:
        print(json.dumps(described, indent=2))
    else:
        described |= {"combine": COMBINED[suite.suite.combine], "members": None}
        _print_facts(described)
        console().print()
        print_table(console(), ("member", "what it is"), members)
    for problem in resolution.errors:
        print(clean(f"agentlab: {problem}"), file=sys.stderr)


def _print_facts(described: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from agentlab.service.cli.tables import console
    from agentlab.traces.render import clean

    facts = Table.grid(padding=(0, 2))
    for key, value in described.items():
        if value not in ("", [], None):
            said = ", ".join(value) if isinstance(value, list) else str(value)
            facts.add_row(Text(key.replace("_", " "), style="bold"), Text(clean(said)))
    console().print(facts)


def _definition(name: str, task: Task) -> TaskDefinition | None:
    """The definition that made `task`: it knows the variants."""
    from agentlab.tasks.definitions import TaskDefinition
    from agentlab.tasks.registry import discovered, load_file, split_file

    path, _ = split_file(name)
    catalog = discovered() if path is None else load_file(path)
    entry = catalog.entries.get(task.name.partition(":")[0])
    return entry if isinstance(entry, TaskDefinition) else None


def _one(name: str, resolution: Resolution) -> Task:
    from agentlab.service.harness import ConfigError

    if len(resolution.tasks) == 1:
        return resolution.tasks[0]
    if resolution.tasks:
        names = ", ".join(task.name for task in resolution.tasks)
        raise ConfigError(f"{name} holds several tasks, name one: {names}")
    raise ConfigError(str(resolution.errors[0]) if resolution.errors else f"unknown task {name!r}")


def _describe(task: Task, definition: TaskDefinition | None) -> dict[str, Any]:
    from agentlab.tasks.identity import survey
    from agentlab.tasks.types import TaskError

    described: dict[str, Any] = {
        "name": task.name,
        "description": task.description,
        "origin": task.origin,
        "licence": task.licence,
        "paper": task.paper,
        "requires": list(task.requires),
        "scorers": [f"{scorer.name}/{scorer.version}" for scorer in task.scorers],
        "metrics": [metric.name for metric in task.metrics] or ["mean"],
        "prompt_mode": task.prompt_mode,
        "method": task.method,
        "variants": [*(definition.variants if definition else ()), *(["Nshot"] if task.fewshot else [])],
        "parameters": list(definition.parameters) if definition else [],
    }
    try:
        found = survey(task)
        _, sample = next(iter(found.samples()))
    except TaskError as error:
        return {**described, "data": str(error), **{key: [] for key in PROMPTS}}
    described |= {"samples": found.n_total, "task_hash": found.identity.task_hash[:16]}
    # What is answered by files cannot be asked without a box; what requires nothing is asked in none.
    asked = {"first_prompt": task.answer != "workspace", "first_prompt_in_box": bool(task.requires)}
    return described | {
        key: _prompt(task, sample, in_box=key == "first_prompt_in_box") if shown else [] for key, shown in asked.items()
    }


def _prompt(task: Task, sample: Sample, *, in_box: bool) -> list[dict[str, str]]:
    from agentlab.tasks.prompting import load_fewshot, render, render_raw

    examples = load_fewshot(task)
    if task.prompt_mode == "raw" or task.method == "loglikelihood":
        return [{"role": "prompt", "content": render_raw(task, sample, examples=examples)}]
    messages = render(task, sample, in_box=in_box, examples=examples)
    return [{"role": message.role, "content": message.text} for message in messages]


@tasks.command("check", short_help="Check a task with its reference, and with nothing.")
@click.argument("name")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Check a seeded sample of N samples.")
@click.option("--sandbox", type=click.Choice(["docker", "bubblewrap", "modal"]), help="Where code runs.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A field of the tools harness, such as judge."
)
@json_option
def check(name: str, limit: int | None, sandbox: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Check a task: its reference must score 1 on every sample, and doing nothing must not score."""
    from agentlab.service.check import check_task
    from agentlab.tasks.registry import resolve

    with boundary():
        task = _one(name, resolve([name]))
        findings = check_task(name, task, limit=limit, sandbox=sandbox, settings=settings)
    if as_json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(finding.sentence)
    if not all(finding.passed for finding in findings):
        raise SystemExit(1)
