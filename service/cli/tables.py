"""Tables in the terminal: the plan, a run's summary, lists of runs and trials. Text of models and tasks is cleaned
first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentlab.service.cli.results import RUNS_DIR
from agentlab.traces.render import clean

if TYPE_CHECKING:
    from agentlab.service.prepare import Plan

MAX_ERRORS = 5
MAX_CAUSES = 4
QUOTE_CHARS = 80
GAP = "  "
USEFUL = 16
"""Characters below which a column that is cut off tells nothing."""
SUMMARY = (
    "task",
    "score",
    "± stderr",
    "95 % interval",
    "n",
    "MDE",
    "errors",
    "flags",
    "tokens in/out",
    "p50 ms",
    "agent",
    "scorer",
)
"""Columns of a summary."""
FLAGS = SUMMARY.index("flags")
SPARE = ("p50 ms", "tokens in/out", "scorer", "agent", "flags", "MDE", "± stderr")
"""Columns of a summary that a narrow terminal does without, the first ones first."""


def console() -> Console:
    """Standard output; wide where it is no terminal and `COLUMNS` says no other, so that nothing is cut in a log."""
    said = os.environ.get("COLUMNS", "")
    width = int(said) if said.isdecimal() and int(said) else 160
    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else width, soft_wrap=False)


def print_table(
    out: Console,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: frozenset[str] = frozenset(),
    spare: Sequence[str] = (),
    shrink: str = "",
) -> list[str]:
    """Print a plain table; columns named in `right` are aligned to the right.

    Where it is wider than the terminal, texts in the column `shrink` are cut off first, as long as there is some room
    for them; then the columns in `spare` are left out in this order until it fits, and named below. Those that are
    empty go first and unnamed. The first column is never broken: names in it can be copied. Returns the columns that
    were left out.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    shown, left_out = _fitting(headings, cells, spare, shrink, out.width)
    if shrink and (place := headings.index(shrink)) in shown:
        widths = _widths(headings, cells)
        room = out.width - sum(widths[other] + len(GAP) for other in shown if other != place)
        for row in cells:
            row[place] = one_line(row[place], max(room, USEFUL))
    made = Table(box=None, pad_edge=False, header_style="bold")
    for place in shown:
        side: Literal["left", "right"] = "right" if headings[place] in right else "left"
        made.add_column(headings[place], justify=side, overflow="fold", no_wrap=place == 0)
    for row in cells:
        made.add_row(*(Text(row[place]) for place in shown))
    out.print(made)
    if left_out:
        out.print(Text(f"(no room for: {', '.join(left_out)})", style="dim"))
    return left_out


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(cell_len(line) for cell in (heading, *(row[place] for row in rows)) for line in (cell.splitlines() or [""]))
        for place, heading in enumerate(headings)
    ]


def _fitting(
    headings: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str], shrink: str, width: int
) -> tuple[list[int], list[str]]:
    """Places of the columns to show, and the names of those that are left out though they hold something."""
    least = _widths(headings, rows)
    if shrink:
        place = headings.index(shrink)
        least[place] = min(least[place], USEFUL)
    empty = {place for place, heading in enumerate(headings) if heading in spare and not any(r[place] for r in rows)}
    shown, left_out = [place for place in range(len(headings)) if place not in empty], []
    for name in spare:
        if sum(least[place] + len(GAP) for place in shown) - len(GAP) <= width:
            break
        place = headings.index(name)
        if place in shown:
            shown.remove(place)
            left_out.append(name)
    return shown, left_out


def print_hint(sentence: str) -> None:
    """What to do next: a dim line below what was asked for."""
    console().print(Text(clean(sentence), style="dim"), soft_wrap=True)


def print_plan(rows: list[dict[str, Any]], boxes: list[dict[str, Any]], absent: str, plan: Plan) -> None:
    """The routes, how many boxes there is room for, and what stands in the way: `absent` says why there are none."""
    network = ("network",) if any(row["network"] for row in rows) else ()
    headings = ("task", "n", "agent", "scorer", "image", *network, "why")
    cells = [[str(row[heading]) for heading in headings] for row in rows]
    print_table(console(), headings, cells, right=frozenset({"n"}), spare=("image",))
    for box in boxes:
        kind = f"{box['isolation']} boxes of {box['image']} with {box['memory_mb']} MB"
        said = f"{box['at_once']} {kind} at once: {box['why']}"
        console().print(Text(clean(said), style="dim"))
    if absent:
        console().print(Text(clean(f"as things are the run would not begin: {absent}"), style="red"), soft_wrap=True)
    for problem in plan.problems:
        console().print(Text(clean(f"{problem.name}: {problem.message}"), style="red"))


def print_header(document: Mapping[str, Any]) -> None:
    """What was run, from a run's document: dim lines above its summary. What the document does not say is left out."""
    config = document.get("config", {})
    facts = {
        "model": document.get("model"),
        "harness": config.get("harness", {}).get("name"),
        "limit": config.get("limit") or "none",
        "epochs": config.get("epochs"),
        "seed": config.get("seed"),
        "created": document.get("created_at"),
        "status": document.get("status"),
    }
    said = ", ".join(f"{name} {value}" for name, value in facts.items() if value not in (None, ""))
    console().print(Text(clean(said), style="dim"))


def print_summary(summary: Mapping[str, Any], status: str) -> None:
    """The table that a run ends in, suites, outcomes that are errors, and the first of them."""
    out = console()
    rows = [_task_row(task) for task in summary["tasks"]] + [_suite_row(suite) for suite in summary["suites"]]
    right = frozenset({"score", "± stderr", "n", "MDE", "p50 ms"})
    left_out = print_table(out, SUMMARY, rows, right=right, spare=SPARE)
    if "flags" in left_out:
        for row in rows:
            if row[FLAGS]:
                out.print(Text(clean(f"{row[0]}: {row[FLAGS]}")))
    _print_notes(out, summary)
    run = run_argument(summary["run_dir"])
    _print_errors(out, summary, run)
    _print_failures(out, summary, run)
    _print_safety(out, summary)
    cost = sum(task["cost_usd"] or 0.0 for task in summary["tasks"])
    if cost:
        out.print(f"cost: {cost:.4f} USD")
    out.print(Text(f"run {summary['run_id']} {status}: {summary['run_dir']}", style="dim"), soft_wrap=True)
    if any(task["trials"] for task in summary["tasks"]):
        print_hint(f"every trial: agentlab results show {run} --samples")


def _print_errors(out: Console, summary: Mapping[str, Any], run: str) -> None:
    left = summary.get("errors_total", len(summary["errors"]))
    for said, count in _grouped_errors(summary)[:MAX_ERRORS]:
        left -= count
        out.print(Text(clean(said), style="red"), soft_wrap=True)
    if left:
        more = "error" if left == 1 else "errors"
        out.print(Text(f"... and {left} more {more}: agentlab results show {run} --samples"), soft_wrap=True)


def _print_failures(out: Console, summary: Mapping[str, Any], run: str) -> None:
    """Why trials failed, a line a task, and the traces to open first. Older summaries have neither."""
    for task in summary["tasks"]:
        for said in _causes(task.get("failures") or {}):
            out.print(Text(clean(f"{task['task']}: {said}")), soft_wrap=True)
    telling = summary.get("telling", ())
    if not telling:
        return
    commands = [f"agentlab traces show {run} {entry['trial']}" for entry in telling]
    width = max(map(cell_len, commands))
    out.print(Text("traces to open first:", style="dim"))
    for command, entry in zip(commands, telling, strict=True):
        step = f" at step {entry['step']}" if entry["step"] is not None else ""
        quote = f": {one_line(entry['quote'], QUOTE_CHARS)}" if entry["quote"] else ""
        out.print(Text(clean(f"  {command:{width}}  {entry['label']}{step}{quote}"), style="dim"), soft_wrap=True)


def _print_safety(out: Console, summary: Mapping[str, Any]) -> None:
    """How often each safety label was given, a line a kind. Older summaries tell none."""
    for task in summary["tasks"]:
        for kind, told in task.get("safety", {}).items():
            # That nothing was found is worth saying: the interval tells how much there may be all the same.
            rates = [rate for rate in told["rates"] if rate["n"] or kind in ("harm", "conduct")]
            said = ", ".join(f"{_safety_label(kind, rate['label'])} {_shared(rate)}" for rate in rates)
            line = f"{task['task']}: {kind} of {told['n']} by {', '.join(told['sources'])}: {said}"
            out.print(Text(clean(line)), soft_wrap=True)


def _safety_label(kind: str, label: str) -> str:
    """A label in words: actions are numbers."""
    from agentlab.traces.safety.answers import ACTIONS

    return f"{label} ({ACTIONS[label]}):" if kind == "action" and label in ACTIONS else label


def _causes(failures: Mapping[str, Any]) -> list[str]:
    """Failed trials by cause, with count, share of the failed ones and its interval, and of how many no step says why;
    nothing where none failed.
    """
    if not failures:
        return []
    known = failures["causes"]
    said = [f"{cause['label']} {_shared(cause)}" for cause in known[:MAX_CAUSES]]
    if len(known) > MAX_CAUSES:
        said.append(
            f"{len(known) - MAX_CAUSES} more causes of {sum(cause['n'] for cause in known[MAX_CAUSES:])} trials"
        )
    if failures["unknown"]["n"]:
        said.append(f"unknown {_shared(failures['unknown'])}")
    unexplained = failures.get("unexplained")  # summaries from before it was counted have none
    told = [f"{failures['n']} not solved: {', '.join(said)}"]
    return [*told, f"no step shows why in {_shared(unexplained)}"] if unexplained and unexplained["n"] else told


def _shared(cause: Mapping[str, Any]) -> str:
    low, high = cause["ci95"]
    return f"{cause['n']} ({cause['share']:.0%}, {low:.0%} to {high:.0%})"


def run_argument(run_dir: str | Path) -> str:
    """A run as it is named on the command line: by its id where the command looks by itself, else by its path."""
    path = Path(run_dir)
    return path.name if path.parent == Path(RUNS_DIR) else str(path)


def _print_notes(out: Console, summary: Mapping[str, Any]) -> None:
    for suite in summary["suites"]:
        if suite["missing"]:
            missing = ", ".join(suite["missing"])
            out.print(Text(clean(f"{suite['suite']}: no average, for there is no score of {missing}"), style="dim"))
    notes: dict[str, list[str]] = {}
    for task in summary["tasks"]:
        if task["note"]:
            notes.setdefault(task["note"], []).append(task["task"])
    for note, names in notes.items():
        out.print(Text(clean(f"{', '.join(names)}: {note}"), style="dim"))
    for task in summary["tasks"]:
        further = _further(task)
        if further:
            out.print(Text(clean(f"{task['task']}: {further}")))
        said = _beside_the_score(task)
        if said:
            out.print(Text(clean(f"{task['task']}: {said}"), style="yellow" if unfinished(task) else "dim"))


def _further(task: Mapping[str, Any]) -> str:
    """What the score is where it is not the plain mean, and the task's other metrics."""
    score = [] if task["metric"] == "mean" else [f"the score is {task['metric']}"]
    others = [
        f"{metric['name']} {number(metric['value'])}"
        + ("" if metric["stderr"] is None else f" ± {number(metric['stderr'])}")
        for metric in task["metrics"]
        if metric["value"] is not None  # pass@10 of one epoch: `--json` says why it is not there
    ]
    return ", ".join((*score, *others))


def _beside_the_score(task: Mapping[str, Any]) -> str:
    """What a score leaves out: errors, and trials that were never begun; empty where it is whole."""
    errors = any(count for outcome, count in task["outcomes"].items() if outcome != "scored")
    low, high = task["bounds"]
    between = f"{number(low)} to {number(high)}"
    if not unfinished(task):
        return f"with the errors counted as 0 or as 1, {between}" if errors and task["n"] else ""
    left_out = "errors and what is missing" if errors else "what is missing"
    said = f"{task['trials']} of {task['planned']} trials, a drawn part of the task and not the whole"
    return said + (f"; with {left_out} counted as 0 or as 1, {between}" if task["n"] else "")


def unfinished(task: Mapping[str, Any]) -> bool:
    """Whether trials of a summary's task were never begun. Summaries from before that was stored are believed."""
    return bool(task["trials"] < task.get("planned", 0))


def part_of(task: Mapping[str, Any]) -> str:
    """` (137 of 1500 trials)` for a task that was not carried out to its end, else nothing."""
    return f" ({task['trials']} of {task['planned']} trials)" if unfinished(task) else ""


def _samples(task: Mapping[str, Any]) -> str:
    """How many samples are behind a score, of how many where some were never begun, and how often each was tried."""
    epochs = task.get("epochs", 1)
    of_all = f" of {task['planned'] // epochs}" if unfinished(task) else ""
    return f"{task['n']}{of_all}" + (f" x {epochs}" if epochs > 1 else "")


def _grouped_errors(summary: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Errors as sentences with how many each stands for: the same error of several samples is said once."""
    groups = summary.get("error_kinds") or [{**error, "n": 1} for error in summary["errors"]]
    return [
        (
            f"{group['task']}/{group['sample']}: {group['kind']}: {group['message']}"
            if group["n"] == 1
            else f"{group['n']} x {group['task']}: {group['kind']}: {group['message']}",
            group["n"],
        )
        for group in groups
    ]


def _task_row(task: Mapping[str, Any]) -> list[str]:
    errors = ", ".join(
        f"{count} {outcome}" for outcome, count in task["outcomes"].items() if count and outcome != "scored"
    )
    flags = ", ".join(f"{count} {flag}" for flag, count in task["flags"].items())
    return [
        task["task"],
        number(task["value"]),
        number(task["stderr"]),
        interval(task["ci95"]),
        _samples(task),
        number(task["mde80"]),
        errors,
        flags,
        # No question takes no tokens: nothing was counted where there are none.
        "/".join(str(task["tokens"][side]) for side in ("input", "output")) if any(task["tokens"].values()) else "-",
        "-" if task["latency_ms"]["p50"] is None else f"{task['latency_ms']['p50']:.0f}",
        task["route"].get("agent", ""),
        task["route"].get("scorer", ""),
    ]


def _suite_row(suite: Mapping[str, Any]) -> list[str]:
    ci95 = interval(suite.get("ci95", (None, None)))
    cells = [f"[{suite['suite']}]", number(suite["value"]), number(suite["stderr"]), ci95, str(suite["n"])]
    return cells + [""] * (len(SUMMARY) - len(cells))


def interval(ci95: Sequence[float | None]) -> str:
    """`low to high`, `-` where there is none."""
    low, high = ci95
    return "-" if low is None or high is None else f"{number(low)} to {number(high)}"


def one_line(text: str, max_chars: int) -> str:
    """`text` without line breaks and control sequences, its end cut off where it is longer than `max_chars`."""
    line = " ".join(clean(text).split())
    return line if len(line) <= max_chars else f"{line[: max_chars - 3]}..."


def number(value: float | None) -> str:
    """Three decimals, `-` where there is none."""
    return "-" if value is None else f"{value:.3f}"
