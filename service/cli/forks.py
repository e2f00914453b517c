"""`agentlab traces fork` and `locate`: a stored trial started again at a step, and the step that decided it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import FAILED, boundary, fail
from agentlab.service.cli.replay import max_sandboxes_option, sandbox_option, say
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.service.board import Board
    from agentlab.service.replay.fork import Chance, Forked, Forks, Kind, Origin
    from agentlab.service.replay.handover import Change
    from agentlab.service.replay.locate import Located
    from agentlab.service.replay.stage import Stage
    from agentlab.traces.events import Message
    from agentlab.traces.reader import RunReader

TOO_HARD = 0.3
"""P(success) below which a trial was as good as lost before any step."""

model_option = click.option("--model", metavar="MODEL", help="Who goes on.  [default: the run's own model]")
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any field of the harness, from the fork on."
)
MOST_FORKS = 100_000


class Finite(click.ParamType[float]):
    """A number that others can be compared with."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


snapshot_option = click.option(
    "--snapshots/--no-snapshots",
    default=True,
    show_default=True,
    help="Begin with the workspace that the run kept last before the step, where it kept any.",
)
success_option = click.option(
    "--success",
    type=Finite(),
    default=1.0,
    show_default=True,
    metavar="VALUE",
    help="The least value that is a success.",
)


@click.command("fork", short_help="Start a trial again from a step on.")
@click.argument("run")
@click.argument("trial")
@click.option("--step", type=click.IntRange(1), required=True, metavar="K", help="The step to take anew, see `show`.")
@model_option
@click.option("--action", metavar="JSON", help='A turn in place of the recorded one: {"name": TOOL, "arguments": {}}.')
@click.option("--system", metavar="TEXT", help="Another system prompt from that step on.")
@click.option("--n", type=click.IntRange(1, MOST_FORKS), default=10, show_default=True, metavar="N", help="Forks.")
@success_option
@set_option
@snapshot_option
@sandbox_option
@max_sandboxes_option
@runs_dir_option
@json_option
def fork(
    run: str, trial: str, step: int, action: str | None, system: str | None, n: int, success: float, **options: Any
) -> None:
    """Start a stored trial again at step K, N times: what was recorded before it is carried out again and compared
    (from the last workspace on that the run kept, where it did), then the model goes on. The forks are the trials of a
    new run. ACTION is a tool call, a list of them, or text.
    """
    from agentlab.service.replay.fork import chance
    from agentlab.service.replay.handover import Change

    change = Change(action=None if action is None else _action(action), system=system)
    as_json: bool = options["as_json"]
    with boundary(), _opened(run, options["runs_dir"]) as reader:
        origin, stage = _origin(reader, trial, options)
        turn = origin.turn_of(step)
        told = {"step": origin.steps[turn], "action": action, "system": system}
        forks = _carry_out(origin, stage, change, told, n, options, lambda forks: forks.at([turn] * n))
        found = chance(forks.made, success)
        if as_json:
            row = {"run": forks.store.run_dir.name, "step": origin.steps[turn], "origin": _value(origin)}
            print(json.dumps(row | _plain(found) | {"trials": [_plain(one) for one in forks.made]}, indent=2))
        else:
            print(f"forked at step {origin.steps[turn]} of trial {origin.again.row.trial}: {_in_words(found)}")
            _print_snapshots(forks.made)
            _print_errors(forks.made)
            _print_run(forks)
    if not found.forks:
        raise SystemExit(FAILED)


@click.command("locate", short_help="Find the step that decided a trial, by forks.")
@click.argument("run")
@click.argument("trial")
@click.option(
    "--n", type=click.IntRange(1, MOST_FORKS), default=60, show_default=True, metavar="N", help="Forks at most."
)
@model_option
@success_option
@set_option
@snapshot_option
@sandbox_option
@max_sandboxes_option
@runs_dir_option
@json_option
def locate(run: str, trial: str, n: int, success: float, **options: Any) -> None:
    """Find the step that decided a trial: forks after its prefixes tell how likely success still was, and where that
    dropped. Forks are spent where they tell most, until one step is certain or N are spent.
    """
    from agentlab.service.replay.handover import Change
    from agentlab.service.replay.locate import locate as locate_step

    as_json: bool = options["as_json"]
    with boundary(), _opened(run, options["runs_dir"]) as reader:
        origin, stage = _origin(reader, trial, options)
        if (origin.again.row.value or 0.0) >= success:
            say("the trial itself succeeded; looked for is the step behind which others would less often")
        located: list[Located] = []

        async def spend(forks: Forks) -> None:
            located.append(await locate_step(forks, n, success))

        forks = _carry_out(origin, stage, Change(), {"forks": n}, n, options, spend)
        (found,) = located
        if as_json:
            row = {"run": forks.store.run_dir.name, "origin": _value(origin)}
            print(json.dumps(row | _plain(found), indent=2))
        else:
            _print_located(found, origin)
            _print_snapshots(forks.made)
            _print_errors(forks.made)
            _print_run(forks)
    if not found.forks:
        raise SystemExit(FAILED)


def _opened(run: str, runs_dir: str) -> RunReader:
    from agentlab.traces.reader import RunReader, resolve_run

    return RunReader(resolve_run(run, Path(runs_dir)))


def _origin(reader: RunReader, trial: str, options: dict[str, Any]) -> tuple[Origin, Stage]:
    from agentlab.service.replay.fork import origin_of
    from agentlab.service.replay.stage import set_stage, stored_trace
    from agentlab.traces.reader import resolve_trial

    row = reader.trial(resolve_trial(reader, trial))
    stage = set_stage(
        reader,
        [row],
        sandbox=options["sandbox"],
        max_sandboxes=options["max_sandboxes"],
        model=options["model"] or None,
        settings=options["settings"],
    )
    if stage.left:
        fail(f"trial {row.trial} cannot be forked: {stage.left[0].reason}")
    for remark in stage.remarks:
        say(remark)
    (again,) = stage.trials
    _warn_of_equal_forks(stage, again.setting.sampling.temperature)
    return origin_of(reader.run_dir, again, stored_trace(reader, row, images=True)), stage


def _warn_of_equal_forks(stage: Stage, temperature: float | None) -> None:
    from agentlab.models.resolve import SCRIPTED

    if temperature == 0 and stage.plan.config.model not in SCRIPTED:
        say(
            "forks at temperature 0 ask for the same answer each time, and tell less than their number: "
            "--set sampling.temperature=0.7 draws different ones"
        )


def _carry_out(
    origin: Origin, stage: Stage, change: Change, told: dict[str, Any], n: int, options: dict[str, Any], work: Any
) -> Forks:
    """A new run with what `work` makes of its forks."""
    from agentlab.service import event_loop
    from agentlab.service.board import Board
    from agentlab.service.replay.fork import open_forks

    board: Board = Board({origin.again.row.task: n}, quiet=options["as_json"])

    async def go() -> Forks:
        kind: Kind = "fork" if "step" in told else "locate"
        snapshots = options["snapshots"]
        async with open_forks(origin, stage, change, kind, board, told, say, snapshots=snapshots) as forks:
            await work(forks)
            return forks

    return event_loop.run(go)


def _action(text: str) -> Message:
    """A turn as a person types it: a tool call, a list of them, or text."""
    from agentlab.traces.events import Message, ToolCall

    try:
        given = json.loads(text)
    except ValueError:
        return Message(role="assistant", content=text)
    calls = given if isinstance(given, list) else [given]
    if isinstance(given, str) or not calls:
        return Message(role="assistant", content=str(given or ""))
    made = []
    for place, call in enumerate(calls):
        named = isinstance(call, dict) and isinstance(call.get("name"), str)
        if not named or not isinstance(call.get("arguments", {}), dict) or set(call) - {"name", "arguments"}:
            fail(
                f'--action: a tool call is {{"name": "bash", "arguments": {{"command": "ls"}}}}, not {json.dumps(call)}'
            )
        made.append(ToolCall(id=f"action_{place}", name=call["name"], arguments=call.get("arguments", {})))
    return Message(role="assistant", tool_calls=tuple(made))


def _plain(found: Chance | Forked | Located) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _value(origin: Origin) -> dict[str, Any]:
    row = origin.again.row
    return {"run": origin.run.name, "trial": row.trial, "outcome": row.outcome, "value": row.value}


def _in_words(found: Chance) -> str:
    from agentlab.service.cli.tables import number

    left = f"; {found.left_out} left out, which ended in an error" if found.left_out else ""
    if found.value is None or found.ci95 is None:
        return f"no fork was graded{left}"
    low, high = found.ci95
    told = f"{found.successes} of {found.forks} forks succeed: P(success) {number(found.value)}"
    return f"{told}, 95 % interval {number(low)} to {number(high)}{left}"


def _print_located(found: Located, origin: Origin) -> None:
    from agentlab.service.cli.tables import console, number, one_line, print_table

    if not found.forks:
        print("no fork was graded: nothing can be said of any step")
        return
    said = [one_line(_said(origin, turn), 60) for turn in range(len(origin.steps))]
    rows = [
        [
            str(prefix.step),
            f"{prefix.chance.successes}/{prefix.chance.forks}",
            "" if prefix.chance.value is None else number(prefix.chance.value),
            "" if prefix.chance.ci95 is None else f"{number(prefix.chance.ci95[0])} to {number(prefix.chance.ci95[1])}",
            number(prefix.decisive),
            text,
        ]
        for prefix, text in zip(found.prefixes, said, strict=True)
    ]
    headings = ("step", "forks", "P(success before it)", "95 % interval", "P(decisive)", "what was done")
    right = frozenset(headings[:5])
    print_table(console(), headings, rows, right=right, spare=("95 % interval",), shrink="what was done")
    if not any(prefix.chance.successes for prefix in found.prefixes):
        where = "wherever they began" if len(found.prefixes) > 1 else "and the trial has one turn only"
        print(f"\nno step can be named: none of {found.forks} forks succeeded, {where}; the task may be too hard")
        return
    first, last = found.interval
    print(f"\nthe decisive step is {found.step} (probability {number(found.probability)}), ", end="")
    where = f"step {first}" if first == last else f"steps {first} to {last}"
    print(f"{found.level:.0%} interval: {where}")
    told = f"is about {number(found.before)} before it and {number(found.after)} after it"
    print(f"P(success) {told}, by {found.forks} forks together")
    if found.before < TOO_HARD:
        print("forks from before it hardly succeed either: the task may be too hard for this model, whatever the step")


def _said(origin: Origin, turn: int) -> str:
    response = origin.calls[turn].response
    if response is None:
        return ""
    calls = ", ".join(f"{call.name} {json.dumps(call.arguments)}" for call in response.tool_calls)
    return calls or response.text


def _print_snapshots(made: list[Forked]) -> None:
    steps = sorted({one.snapshot for one in made if one.snapshot is not None})
    if steps:
        where = ", ".join(map(str, steps[:12])) + (", ..." if len(steps) > 12 else "")
        told = f"with the workspace that was kept before step {where}"
        print(f"{sum(one.snapshot is not None for one in made)} of {len(made)} forks began {told}, in a new shell")


def _print_errors(made: list[Forked]) -> None:
    from agentlab.service.cli.tables import one_line

    errors = dict.fromkeys(f"{one.outcome}: {one.error}" for one in made if one.outcome != "scored")
    for error in list(errors)[:3]:
        print(f"left out, {one_line(error, 400)}")


def _print_run(forks: Forks) -> None:
    from agentlab.service.cli.tables import print_hint, run_argument

    print_hint(f"each fork: agentlab results show {run_argument(forks.store.run_dir)} --samples")
