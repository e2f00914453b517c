"""`agentlab traces diff`: two trials side by side, and the first step where they part."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import boundary
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.traces.alignment import Alignment, Pair
    from agentlab.traces.reader import RunReader
    from agentlab.traces.rows import AttemptRow
    from agentlab.traces.steps import Step, Trace

BEFORE, AFTER = 3, 12
"""Pairs around the parting that are listed unless all are asked for."""


@click.command("diff", short_help="Show the first step where two trials part.")
@click.argument("run")
@click.argument("first", metavar="TRIAL")
@click.argument("second", metavar="TRIAL")
@click.option("--full", is_flag=True, help="List every step, not only those around the one where they part.")
@runs_dir_option
@json_option
def diff(run: str, first: str, second: str, full: bool, runs_dir: str, as_json: bool) -> None:
    """Line up two trials of one sample and show the first step where they part. A TRIAL of another run is written
    RUN:TRIAL. What differs between any two runs (times, durations, ids, temporary names) is left aside.
    """
    from agentlab.traces.alignment import align

    with boundary(), ExitStack() as stack:
        left, left_reader = _open(stack, run, first, runs_dir)
        right, right_reader = _open(stack, run, second, runs_dir)
        found = align(left, right)
        if as_json:
            sides = {"first": _side(left, left_reader), "second": _side(right, right_reader)}
            print(json.dumps({**sides, **_as_json(found)}))
            return
        for trace, reader in ((left, left_reader), (right, right_reader)):
            click.echo(_head(trace, reader))
        if _asked(left) != _asked(right):
            click.echo("these are trials of two samples: they were asked different things to begin with")
        _print(found, full)


def _open(stack: ExitStack, run: str, ref: str, runs_dir: str) -> tuple[Trace, RunReader]:
    """A trial of the run, or of another one: `RUN:TRIAL`. Raises UnknownRun, UnknownTrial, StoreError."""
    from agentlab.traces.errors import UnknownTrial
    from agentlab.traces.reader import RunReader, resolve_run, resolve_trial
    from agentlab.traces.steps import trace_of

    reader = stack.enter_context(RunReader(resolve_run(run, Path(runs_dir))))
    try:
        number = resolve_trial(reader, ref)
    except UnknownTrial:
        other, colon, trial = ref.partition(":")
        if not colon:
            raise
        reader = stack.enter_context(RunReader(resolve_run(other, Path(runs_dir))))
        number = resolve_trial(reader, trial)
    return trace_of(reader.events(number), reader.trial(number)), reader


def _row(trace: Trace) -> AttemptRow:
    assert trace.row is not None
    return trace.row


def _asked(trace: Trace) -> tuple[str, str]:
    """The sample that a trial is of."""
    return _row(trace).task, _row(trace).sample


def _head(trace: Trace, reader: RunReader) -> str:
    from agentlab.service.cli.tables import number
    from agentlab.traces.render import clean

    row = _row(trace)
    ended = (row.outcome or "not finished") + ("" if row.value is None else f", value {number(row.value)}")
    name = f"{row.task}/{row.sample}@{row.epoch}"
    return clean(f"{reader.run_dir.name}:{row.trial}  {name}: {ended}, {len(trace.events)} steps")


def _print(found: Alignment, full: bool) -> None:
    width = shutil.get_terminal_size((120, 24)).columns
    first, last = (0, len(found.pairs)) if full else (max(found.alike - BEFORE, 0), found.alike + AFTER)
    if first:
        click.echo(f"    ... {first} steps that are alike")
    for pair in found.pairs[first:last]:
        click.echo(_line(pair, width))
    if last < len(found.pairs):
        click.echo(f"    ... {len(found.pairs) - last} more (--full)")
    if found.not_compared:
        click.echo(f"    ... {found.not_compared} steps behind these were not compared")
    if found.parting is None:
        click.echo(f"both are alike {'so far' if found.not_compared else 'to the end'}")
        return
    click.echo(click.style(_where(found.parting), bold=True))
    expected, got = _around(found.parting)
    for name, text in (("first", expected), ("second", got)):
        click.echo(f"  {name}: " + text.replace("\n", "\n    "))


def _line(pair: Pair, width: int) -> str:
    """`=` where both are alike, `!` where they differ, `<` and `>` where only one has the step."""
    mark = "=" if not pair.differs else "<" if pair.right is None else ">" if pair.left is None else "!"
    places = "".join(f"{_place(side):>5}" for side in (pair.left, pair.right))
    sides = [pair.left, pair.right] if mark == "!" else [pair.left or pair.right]
    room = max((width - 13) // len(sides) - 3, 20)
    return f"{mark}{places}  " + " | ".join(f"{_summary(side, room):{room}}" for side in sides if side).rstrip()


def _place(step: Step | None) -> str:
    return "" if step is None else str(step.seq + 1)


def _summary(step: Step, room: int) -> str:
    from agentlab.service.cli.tables import one_line
    from agentlab.traces.render import clean

    who = f"{step.role} {step.agent}".rstrip() if step.call is None else f"tool {step.call.name}"
    asks = f" [calls {', '.join(call.name for call in step.asks)}]" if step.asks else ""
    return one_line(clean(f"{who}{asks}: {step.text[: 4 * room]}"), room)


def _where(pair: Pair) -> str:
    if pair.left is None or pair.right is None:
        longer = "second" if pair.left is None else "first"
        return f"they are alike until one ends: only the {longer} goes on at its step {_place(pair.left or pair.right)}"
    return f"they part at step {_place(pair.left)} and {_place(pair.right)}: {pair.differs}"


def _around(pair: Pair) -> tuple[str, str]:
    """What either side says where they part, from shortly before the first difference."""
    from agentlab.traces.divergence import SHOWN, around_difference
    from agentlab.traces.render import clean

    texts = ["(nothing)" if side is None else _whole(side) for side in (pair.left, pair.right)]
    left, right = around_difference(*texts) if pair.left and pair.right else texts
    return clean(left[:SHOWN]).strip("\n"), clean(right[:SHOWN]).strip("\n")


def _whole(step: Step) -> str:
    calls = [f"{call.name} {call.raw or json.dumps(call.arguments, default=repr)}" for call in step.asks]
    if step.call is not None:
        calls.append(f"{step.call.name} {step.call.raw or json.dumps(step.call.arguments, default=repr)}")
    return "\n".join((*([step.text] if step.text else []), *calls))


def _side(trace: Trace, reader: RunReader) -> dict[str, Any]:
    return {"run": reader.run_dir.name, **_row(trace).fields()}


def _as_json(found: Alignment) -> dict[str, Any]:
    def pair(item: Pair) -> dict[str, Any]:
        sides = {"first": item.left, "second": item.right}
        return {name: step and step.seq + 1 for name, step in sides.items()} | {"differs": item.differs}

    parting: dict[str, Any] | None = None
    if found.parting is not None:
        expected, got = _around(found.parting)
        parting = pair(found.parting) | {"first_text": expected, "second_text": got}
    return {
        "alike": found.alike,
        "parting": parting,
        "steps": [pair(item) for item in found.pairs],
        "not_compared": found.not_compared,
    }
