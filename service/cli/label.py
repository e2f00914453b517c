"""`agentlab label`: people judge traces in the terminal; how far they agree; labels in and out of files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agentlab.service.cli.exits import INTERRUPTED, boundary, fail
from agentlab.service.cli.results import json_option, runs_dir_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentlab.service.labels.round import LabelRound
    from agentlab.service.labels.screen import Lines
    from agentlab.traces.guide import Guide
    from agentlab.traces.reader import RunReader
    from agentlab.traces.rows import AttemptRow

ROUND = "round"


class LabelGroup(click.Group):
    """`agentlab label RUN` is a round: what is not the name of a command begins one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [ROUND, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its commands, and the options of a round: who asks for help has named no command yet."""
        super().format_options(ctx, formatter)
        round_ = self.commands[ROUND]
        options = [option for option in round_.params if isinstance(option, click.Option)]
        with formatter.section("Options of a round (agentlab label RUN)"):
            formatter.write_dl(list(filter(None, (option.get_help_record(ctx) for option in options))))


annotator_option = click.option("--annotator", metavar="NAME", help="Who labels; without it, the name of the user.")
guide_option = click.option(
    "--guide", "guide_file", type=click.Path(), metavar="FILE", help="A guide; without it, ours of failures."
)


@click.group(cls=LabelGroup, subcommand_metavar="RUN | COMMAND [ARGS]...")
def label() -> None:
    """Judge traces in the terminal (label RUN), and see how far people and classifiers agree."""


@label.command(ROUND, short_help="Label the traces of RUN; the same as label RUN.")
@click.argument("run")
@annotator_option
@guide_option
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Traces of this task only; may be repeated.")
@click.option("--failed", is_flag=True, help="Only trials that did not reach full marks.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="N traces, the same ones for every annotator.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw and the order.")
@click.option("--open", "open_", is_flag=True, help="Show outcome, verdicts and the labels of machines.")
@runs_dir_option
def label_round(
    run: str,
    annotator: str | None,
    guide_file: str | None,
    tasks: tuple[str, ...],
    failed: bool,
    limit: int | None,
    seed: int,
    open_: bool,
    runs_dir: str,
) -> None:
    """Label the traces of RUN, in an order of your own and blind to how they ended. Every key is stored at once: the
    same command goes on where you left, or where the terminal was lost.
    """
    from agentlab.service.labels.round import Choice, LabelRound, chosen
    from agentlab.service.labels.screen import no_lines
    from agentlab.traces.reader import RunReader, resolve_run

    _need_terminal("labels made elsewhere come in with: agentlab label import RUN FILE")
    with boundary():
        guide = _guide(guide_file)
        run_dir = resolve_run(run, Path(runs_dir))
        with RunReader(run_dir) as reader:
            _refuse_unknown_tasks(reader, tasks)
            name = _annotator(annotator)
            rows = chosen(reader, Choice(tasks, failed, limit, seed), name)
            if not rows:
                fail("no trial of this run has ended" + (", or none as asked" if tasks or failed else ""))
            round_ = LabelRound(run_dir, rows, guide, name)
            _show(round_, reader, _open_lines(reader) if open_ else no_lines, open_=open_)


@label.command("adjudicate", short_help="Settle what people disagree on.")
@click.argument("run")
@annotator_option
@guide_option
@runs_dir_option
def adjudicate(run: str, annotator: str | None, guide_file: str | None, runs_dir: str) -> None:
    """Settle what people disagree on: only such traces are shown, with what each said. Their labels stay as they are;
    yours stands beside them and says what it settles.
    """
    from agentlab.service.labels.round import LabelRound, disputes
    from agentlab.traces.reader import RunReader, resolve_run

    _need_terminal("see what people disagree on with: agentlab label agreement RUN")
    with boundary():
        guide = _guide(guide_file)
        run_dir = resolve_run(run, Path(runs_dir))
        with RunReader(run_dir) as reader:
            disputed = disputes(reader.labels(), guide.label_name)
            if not disputed:
                print(f"no trace of {run_dir.name} on whose {guide.label_name} people disagree, or all are settled")
                return
            rows = [row for row in reader.trials(final=False) if (row.trial, row.attempt) in disputed]
            what = {
                place: "; ".join(f"{given.author}={given.value}" for given in labels)
                for place, labels in disputed.items()
            }

            def told(row: AttemptRow) -> Sequence[str]:
                said = [f"{given.author} says {given.value}" for given in disputed[row.trial, row.attempt]]
                return [*said, *_what_people_said(reader, row), ""]

            _show(LabelRound(run_dir, rows, guide, _annotator(annotator), settling=what), reader, told)


@label.command("agreement", short_help="How far people and classifiers agree.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--name", default="failure", show_default=True, help="Labels of this name.")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Traces of this task only; may be repeated.")
@click.option(
    "--resamples",
    type=click.IntRange(100, 100_000),
    default=4999,
    show_default=True,
    metavar="N",
    help="Of the traces, for the intervals.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resamples.")
@click.option("--steps", is_flag=True, help="Compare the labels of single steps, not those of whole traces.")
@runs_dir_option
@json_option
def show_agreement(
    runs: tuple[str, ...],
    name: str,
    tasks: tuple[str, ...],
    resamples: int,
    seed: int,
    steps: bool,
    runs_dir: str,
    as_json: bool,
) -> None:
    """How far people agree on the traces of some runs: raw agreement, Cohen, Fleiss, Krippendorff's alpha, each
    category; with each other, and with every classifier, detector and judge. Intervals are 95 %, by BCa bootstrap over
    traces. With --steps also how often two mark the same step first, or the one next to it.
    """
    from contextlib import ExitStack

    from agentlab.service.cli.label_agreement import as_document, print_agreements
    from agentlab.service.labels.tables import agreements, judgements
    from agentlab.traces.reader import RunReader, resolve_run

    with boundary(), ExitStack() as open_runs:
        places = dict.fromkeys(resolve_run(run, Path(runs_dir)) for run in runs)
        readers = [open_runs.enter_context(RunReader(place)) for place in places]
        for reader in readers:
            _refuse_unknown_tasks(reader, tasks)
        found = judgements(readers, name, tasks, steps=steps)
        if not found.people and not found.machines:
            others = ", ".join(sorted(found.names)) or "none at all"
            one, all_ = ("step", "steps") if steps else ("trace", "whole traces")
            elsewhere = judgements(readers, name, tasks, steps=not steps)
            given = elsewhere.people or elsewhere.machines
            hint = f"; {'whole traces are: leave out' if steps else 'steps are: add'} --steps" if given else ""
            fail(f"no {one} is labelled with {name!r}{hint}; there are labels of {all_}: {others}")
        measured = agreements(found, resamples=resamples, seed=seed)
        if as_json:
            print(as_document(name, found, measured))
        else:
            print_agreements(name, found, measured)


@label.command("export", short_help="Write all labels of RUN to a file.")
@click.argument("run")
@click.option("--out", required=True, metavar="FILE", help="A .jsonl or .csv file; - prints JSON Lines.")
@runs_dir_option
@json_option
def export_labels(run: str, out: str, runs_dir: str, as_json: bool) -> None:
    """Write all labels of RUN to a file, those too that were taken back or said anew."""
    from agentlab.service.labels.files import write_labels, written
    from agentlab.traces.reader import RunReader, resolve_run

    with boundary(), RunReader(resolve_run(run, Path(runs_dir))) as reader:
        if out == "-":
            for line in written(reader, "jsonl"):
                print(line, end="")
            return
        count = write_labels(reader, Path(out))
        if as_json:
            print(json.dumps({"run": reader.run_dir.name, "out": out, "labels": count}))
        else:
            print(f"{count} labels of {reader.run_dir.name} are in {out}")


@label.command("import", short_help="Add the labels in a file to RUN.")
@click.argument("run")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@runs_dir_option
@json_option
def import_labels(run: str, file: str, runs_dir: str, as_json: bool) -> None:
    """Add the labels in FILE (.jsonl or .csv, as export writes them) to RUN: all of them, or none where one is wrong.
    What is there already is not added again.
    """
    from agentlab.service.labelling import add_labels
    from agentlab.service.labels.files import read_labels
    from agentlab.traces.reader import RunReader, resolve_run

    with boundary():
        run_dir = resolve_run(run, Path(runs_dir))
        with RunReader(run_dir) as reader:
            labels = read_labels(reader, Path(file))
        added = add_labels(run_dir, labels, once=True)
        if as_json:
            print(json.dumps({"run": run_dir.name, "added": added, "known": len(labels) - added}))
            return
        known = f", {len(labels) - added} were there already" if added < len(labels) else ""
        print(f"{added} labels were added to {run_dir.name}{known}")


@label.command("guide", short_help="Print a guide to copy and change.")
@guide_option
def print_guide(guide_file: str | None) -> None:
    """Print a guide that could be used: ours, to copy and change, unless another is named."""
    from agentlab.traces.guide import DEFAULT
    from agentlab.traces.render import clean

    with boundary():
        _guide(guide_file)
        place = DEFAULT if guide_file is None else Path(guide_file)
        print(clean(place.read_text(encoding="utf-8")), end="")


def _need_terminal(instead: str) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail(f"this needs a terminal, keys and screen; {instead}")


def _guide(file: str | None) -> Guide:
    from agentlab.traces.guide import GuideError, load_guide

    try:
        return load_guide(None if file is None else Path(file))
    except (GuideError, UnicodeError) as error:
        fail(str(error))


def _annotator(given: str | None) -> str:
    """The annotator's name: as given, else the user's."""
    import getpass

    if given is None:
        try:
            given = getpass.getuser()
        except (KeyError, OSError):
            fail("there is no user name here: say who labels with --annotator NAME")
    if not given.strip() or not given.isprintable():
        fail("the name of an annotator is of printable characters, and not empty")
    return given.strip()


def _refuse_unknown_tasks(reader: RunReader, tasks: tuple[str, ...]) -> None:
    import difflib

    known = reader.tasks()
    for task in tasks:
        if task not in known:
            near = difflib.get_close_matches(task, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
            fail(f"there is no task {task} in {reader.run_dir.name}; {hint}")


def _open_lines(reader: RunReader) -> Lines:
    """Outcome and labels of machines, for a round that is not blind."""
    from agentlab.traces.labels import in_words, standing

    def told(row: AttemptRow) -> Sequence[str]:
        value = "" if row.value is None else f", value {row.value:.3f}"
        flags = f", flagged {', '.join(row.flags)}" if row.flags else ""
        labels = [found for found in reader.labels(row.trial) if found.attempt == row.attempt]
        machines = [found for found in standing(labels) if found.source != "person"]
        said = [
            ("label " if found.seq is None else f"label of step {found.seq + 1}: ") + in_words(found)
            for found in machines
        ]
        return [f"outcome {row.outcome}{value}{flags}", *said, ""]

    return told


def _what_people_said(reader: RunReader, row: AttemptRow) -> list[str]:
    """What people said of the steps of an attempt, and their remarks."""
    from agentlab.service.labels.round import NOTE, settles
    from agentlab.traces.labels import standing

    lines = []
    for found in standing(found for found in reader.labels(row.trial) if not settles(found)):
        if found.source == "person" and found.attempt == row.attempt and (found.seq is not None or found.name == NOTE):
            where = "" if found.seq is None else f" of step {found.seq + 1}"
            lines.append(f"{found.author} says{where}: {found.note if found.name == NOTE else found.value}")
    return lines


def _show(round_: LabelRound, reader: RunReader, told: Lines, *, open_: bool = False) -> None:
    """Carry the round out, and say where it stands."""
    import curses

    from agentlab.service.cli.tables import run_argument
    from agentlab.service.labels.screen import show

    interrupted = False
    try:
        show(round_, reader, told=told, open_=open_)
    except curses.error as error:
        fail(f"this terminal cannot show it: {error}")
    except KeyboardInterrupt:
        interrupted = True
    left = len(round_.rows) - round_.decided
    then = f"; how far people agree: agentlab label agreement {run_argument(reader.run_dir)}"
    more = f", {left} to go: the same command goes on here" if left else then
    click.echo(f"{round_.annotator} has labelled {round_.decided} of {len(round_.rows)} traces{more}")
    if interrupted:
        raise SystemExit(INTERRUPTED)
