"""`agentlab sandbox bench`: what boxes cost on this machine, each figure beside a floor of the same run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from agentlab.service.cli.exits import boundary
from agentlab.service.cli.results import json_option

if TYPE_CHECKING:
    from agentlab.sandboxes.bench import Row

HEADINGS = ("measure", "ours", "beside", "found", "bar", "")


@click.command("bench", short_help="Measure what boxes cost here.")
@click.option("--only", multiple=True, metavar="NAME", help="One of the measures; may be repeated.  [default: all]")
@json_option
def bench(only: tuple[str, ...], as_json: bool) -> None:
    """Measure Docker boxes: commands, files, whole trials, and what a killed runner leaves. Takes three minutes, and
    wants a quiet machine: each figure stands beside a floor of the same run, but not all are slowed down alike.
    """
    from agentlab.service import event_loop
    from agentlab.service.sandbox_bench import NAMES
    from agentlab.service.sandbox_bench import bench as measured

    unknown = set(only) - set(NAMES)
    if unknown:
        raise click.BadParameter(
            f"there is no measure {min(unknown)!r}; there are {', '.join(NAMES)}", param_hint="--only"
        )

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    async def go() -> list[Row]:
        rows = []
        async for row in measured(only, say):
            rows.append(row)
            say(f"{row.measure}: {row.ours}")
        return rows

    with boundary():
        rows = event_loop.run(go)
    if as_json:
        print(json.dumps([row.as_dict() for row in rows], indent=2))
    else:
        from agentlab.service.cli.tables import console, print_table

        print_table(console(), HEADINGS, [row.cells() for row in rows], right=frozenset({"ours", "found"}))
