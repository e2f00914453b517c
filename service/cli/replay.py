"""`agentlab traces replay`: recorded answers served again in fresh boxes, and where the world answers otherwise."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentlab.service.cli.exits import FAILED, boundary
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.service.board import Board
    from agentlab.service.replay.model import Replayed
    from agentlab.service.replay.stage import Stage
    from agentlab.traces.reader import RunReader

sandbox_option = click.option(
    "--sandbox", type=click.Choice(["docker", "bubblewrap", "modal"]), help="Where code runs.  [default: as in the run]"
)
max_sandboxes_option = click.option(
    "--max-sandboxes", type=click.IntRange(1), metavar="N", help="Boxes in use at once.  [default: as in the run]"
)


@click.command("replay", short_help="See whether the world still answers the same.")
@click.argument("run")
@click.argument("trials", nargs=-1, metavar="[TRIAL]...")
@sandbox_option
@max_sandboxes_option
@runs_dir_option
@json_option
def replay(
    run: str, trials: tuple[str, ...], sandbox: Any, max_sandboxes: int | None, runs_dir: str, as_json: bool
) -> None:
    """Serve the recorded answers of a run again, with its tools and scorers run for real in fresh sandboxes: does the
    world still answer the same? Without TRIAL, all of them. Exits with 1 where one diverged or could not be carried
    out.
    """
    from agentlab.service import event_loop
    from agentlab.service.replay.model import replay as replay_trials
    from agentlab.service.replay.stage import set_stage
    from agentlab.traces.reader import RunReader, resolve_run

    with boundary(), RunReader(resolve_run(run, Path(runs_dir))) as reader:
        stage = set_stage(reader, chosen(reader, trials), sandbox=sandbox, max_sandboxes=max_sandboxes)
        for remark in stage.remarks:
            say(remark)

        async def go() -> Sequence[Replayed]:
            return await replay_trials(stage, reader, board_of(stage, quiet=as_json), say)

        ended = event_loop.run(go)
        _print(reader, ended, as_json)
    if any(one.status in ("diverged", "failed") for one in ended):
        raise SystemExit(FAILED)


def chosen(reader: RunReader, trials: Sequence[str]) -> list[Any]:
    """The last attempts of the trials that are named, each once; of all where none is. Raises UnknownTrial."""
    from agentlab.traces.reader import resolve_trial

    if not trials:
        return list(reader.trials())
    return [reader.trial(number) for number in dict.fromkeys(resolve_trial(reader, trial) for trial in trials)]


def board_of(stage: Stage, *, quiet: bool) -> Board:
    """Progress over the trials of a stage."""
    from collections import Counter

    from agentlab.service.board import Board

    return Board(Counter(again.row.task for again in stage.trials), stage.plan.lanes, quiet=quiet)


def say(sentence: str) -> None:
    from agentlab.traces.render import clean

    print(clean(sentence), file=sys.stderr, flush=True)


def _print(reader: RunReader, ended: Sequence[Replayed], as_json: bool) -> None:
    import msgspec

    from agentlab.service.replay.model import STATUSES

    counts = {status: sum(one.status == status for one in ended) for status in STATUSES}
    if as_json:
        rows = [msgspec.to_builtins(one) for one in ended]
        print(json.dumps({"run": reader.run_dir.name, **counts, "trials": rows}, indent=2))
        return
    from agentlab.service.cli.tables import console, one_line, print_hint, print_table, run_argument

    cells = [
        [str(one.trial), one.task, one.sample, str(one.epoch), one.status, str(one.tool_calls), one_line(_why(one), 99)]
        for one in ended
    ]
    headings = ("trial", "task", "sample", "epoch", "replay", "tool calls", "why")
    right = frozenset({"trial", "epoch", "tool calls"})
    print_table(console(), headings, cells, right=right, spare=("epoch", "tool calls"), shrink="why")
    for one in ended:
        if one.divergence is not None:
            _print_divergence(one)
    calls = sum(one.tool_calls for one in ended)
    said = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    print(f"\n{said or 'no trial'}; {calls} tool calls carried out again")
    first = next((one for one in ended if one.divergence is not None), None)
    if first is not None:
        print_hint(f"what was recorded: agentlab traces show {run_argument(reader.run_dir)} {first.trial}")


def _why(one: Replayed) -> str:
    return str(one.divergence) if one.divergence is not None else one.reason


def _print_divergence(one: Replayed) -> None:
    from agentlab.traces.render import clean

    assert one.divergence is not None
    print(f"\ntrial {one.trial}, step {one.divergence.step}: {clean(one.divergence.what)}")
    for heading, text in (("recorded", one.divergence.expected), ("now", one.divergence.got)):
        print(f"  {heading}:")
        print("\n".join(f"    {line}" for line in clean(text).splitlines() or ["(nothing)"]))
