"""`agentlab export`: a run in the format of other tools."""

from __future__ import annotations

from pathlib import Path

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import runs_dir_option


@click.group()
def export() -> None:
    """Write a run in the format of other tools."""


@export.command("harbor", short_help="Write a run as a Harbor job directory.")
@click.argument("run")
@click.option(
    "--to", "target", default="jobs", show_default=True, metavar="DIR", help="Where the job's folder is made."
)
@runs_dir_option
def harbor(run: str, target: str, runs_dir: str) -> None:
    """Write RUN as a Harbor job directory: a folder for each trial with its result, trajectory, rewards and artifacts.

    RUN is an id, a unique prefix, a path or latest.
    """
    from agentlab.traces.harbor_job import export_job
    from agentlab.traces.reader import RunReader, resolve_run

    with boundary(), RunReader(resolve_run(run, Path(runs_dir))) as reader:
        try:
            job = export_job(reader, Path(target))
        except FileExistsError as error:
            fail(f"{error.filename} is there already: remove it, or name another place with --to")
        except OSError as error:
            fail(f"{error.filename or target} cannot be written: {error.strerror}")
        click.echo(str(job))
