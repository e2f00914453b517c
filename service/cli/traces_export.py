"""`agentlab traces export`: a run's traces in the formats of other tools."""

from __future__ import annotations

import json
from pathlib import Path

import click

from agentlab.service.cli.exits import boundary, fail
from agentlab.service.cli.results import json_option, runs_dir_option

FORMATS = ("atif", "openai", "parquet", "otlp")


@click.command("export", short_help="Write traces as ATIF, chat rows, Parquet or OTLP.")
@click.argument("run")
@click.option("--format", "format_name", required=True, type=click.Choice(FORMATS), help="What to write.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder, new or empty."
)
@click.option("--trial", "trials", multiple=True, metavar="TRIAL", help="Only this trial; may be given several times.")
@click.option(
    "--atif-version",
    type=click.Choice(("1.7", "1.8")),
    help="Of the schema; else 1.8, and what was imported keeps its own.",
)
@runs_dir_option
@json_option
def export_command(
    run: str,
    format_name: str,
    out: Path,
    trials: tuple[str, ...],
    atif_version: str | None,
    runs_dir: str,
    as_json: bool,
) -> None:
    """Write the traces of RUN into a folder: for atif a document a trial, for openai and otlp one file of JSON Lines,
    for parquet two tables. RUN is an id, a unique prefix, a path or latest.
    """
    from agentlab.traces.formats import export
    from agentlab.traces.reader import RunReader, resolve_run, resolve_trial

    if atif_version and format_name != "atif":
        fail(f"--atif-version has no effect on --format {format_name}")
    with boundary(), RunReader(resolve_run(run, Path(runs_dir))) as reader:
        numbers = [resolve_trial(reader, trial) for trial in trials]
        if out.is_dir() and any(out.iterdir()):
            fail(f"{out} is not empty: name a new folder with --out")
        out.mkdir(parents=True, exist_ok=True)
        if format_name == "atif":
            count = export.export_atif(reader, out, numbers, f"ATIF-v{atif_version}" if atif_version else "")
        else:
            write = {"openai": export.export_chat, "parquet": export.export_parquet, "otlp": export.export_otlp}
            count = write[format_name](reader, out, numbers)
        if as_json:
            print(json.dumps({"run": reader.run_dir.name, "format": format_name, "out": str(out), "trials": count}))
            return
        what = "trial" if count == 1 else "trials"
        click.echo(f"{count} {what} of {reader.run_dir.name} in {out}")
