"""`agentlab traces import`: traces of other tools as a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from agentlab.service.importing import Imported
    from agentlab.traces.errors import FormatError

SHOWN = 5
"""Records that were left out which are named one by one."""


@click.command("import", short_help="Import traces that other tools wrote.")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    default="",
    metavar="NAME",
    help="atif, inspect, swe-agent, tau-bench, agentrx, whowhen or openai; else found by its fields.",
)
@click.option("--name", default="", metavar="NAME", help="A name for the run.")
@click.option("--skip-broken", is_flag=True, help="Leave out records that cannot be read, and name them.")
@click.option("--labels", type=click.Path(path_type=Path), metavar="FILE", help="AgentRx's labels of these runs.")
@runs_dir_option
@json_option
def import_command(
    path: Path, format_name: str, name: str, skip_broken: bool, labels: Path | None, runs_dir: str, as_json: bool
) -> None:
    """Import traces that other tools wrote: PATH is a file, or a folder of files. They become a run that every other
    command reads, with the labels that stand in the files and those that every failed trial is given.
    """
    from agentlab.service.importing import import_traces
    from agentlab.traces.errors import FormatError
    from agentlab.traces.formats import FORMATS

    if format_name and format_name not in FORMATS:
        fail(f"there is no format {format_name!r} to import; known are {', '.join(FORMATS)}")
    with boundary():
        try:
            made = import_traces(
                path, Path(runs_dir), name=name, format_name=format_name, skip_broken=skip_broken, labels=labels
            )
        except FormatError as error:
            fail(str(error) if skip_broken or not error.record else f"{error}; mend it, or leave it out: --skip-broken")
        if as_json:
            print(json.dumps(_as_json(made), indent=2))
        else:
            _tell(made)


def _as_json(made: Imported) -> dict[str, object]:
    return {
        "run": made.run_id,
        "path": str(made.run_dir),
        "traces": made.traces,
        "turns": made.turns,
        "formats": dict(made.formats),
        "kept": dict(made.unmapped),
        "labels": dict(made.labels),
        "broken": [str(error) for error in made.broken],
        "unknown": [str(error) for error in made.unknown],
    }


def _tell(made: Imported) -> None:
    from agentlab.service.cli.tables import print_hint, run_argument
    from agentlab.traces.render import clean

    formats = ", ".join(f"{count} {name}" for name, count in made.formats.items())
    traces = "1 trace" if made.traces == 1 else f"{made.traces} traces"
    turns = "1 turn" if made.turns == 1 else f"{made.turns} turns"
    print(clean(f"{traces} with {turns} ({formats}): run {made.run_id}"))
    if made.unmapped:
        fields = ", ".join(f"{name} ({count})" for name, count in made.unmapped.most_common())
        print(clean(f"kept in the last step of each trace, having no place of their own: {fields}"))
    if made.labels:
        given = ", ".join(f"{name} ({count})" for name, count in made.labels.most_common())
        print(clean(f"labels that others gave: {given}"))
    _left_out("could not be read and left out", made.broken)
    _left_out("looked like no trace and left out", made.unknown)
    run = run_argument(made.run_dir)
    print_hint(f"look closer: agentlab results show {run} --samples, agentlab traces show {run} 1")


def _left_out(what: str, errors: list[FormatError]) -> None:
    from agentlab.traces.render import clean

    if not errors:
        return
    print(f"{len(errors)} {what}:", file=sys.stderr)
    by_file: dict[str, list[FormatError]] = {}
    for error in errors:
        by_file.setdefault(error.file, []).append(error)
    for file, found in list(by_file.items())[:SHOWN]:
        others = f" (and {len(found) - 1} more records of {file})" if len(found) > 1 else ""
        print(clean(f"  {found[0]}{others}"), file=sys.stderr)
    if len(by_file) > SHOWN:
        print(f"  ... and those of {len(by_file) - SHOWN} more files (--json lists all)", file=sys.stderr)
