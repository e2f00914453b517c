"""`agentlab classify` on a stored run: a line a label as it is found, or a table of what they come to."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from agentlab.service.cli.exits import FAILED, fail

if TYPE_CHECKING:
    from agentlab.service.causes import Found
    from agentlab.service.classifying import Keeping
    from agentlab.tasks.types import SafetyKind
    from agentlab.traces.rows import Label
    from agentlab.traces.safety.judging import AnswerKind

Form = Literal["json", "lines", "table", "both"]
FEW = 20
"""Trials up to which a terminal shows each line as well."""
REDRAWN_S = 0.2
FITTED_TO = (
    "fitted to answers to requests that one ought to refuse; on other questions it sees harm where there is none, "
    "so read what it names before you count"
)


def classify_run(
    path: Path,
    kinds: Sequence[str],
    *,
    judge: str,
    judge_key: str,
    judge_window: int,
    keep: bool,
    as_json: bool,
    lines: bool | None,
    processes: int | None,
    weights: Path | None,
) -> None:
    """Label a run and show what was found. Raises what the service raises."""
    from agentlab.service.classifying import Keeping
    from agentlab.service.cli.classify_causes import say_what_causes_are
    from agentlab.traces.reader import RunReader

    if tuple(kinds) == ("quality",):
        fail("quality is for files of rows: it must be told what would have been right")
    if not judge and kinds[0] in ("harm", "action"):
        print(f"{kinds[0]}: {FITTED_TO}", file=sys.stderr, flush=True)
    if not judge and kinds[0] == "cause" and not as_json:
        say_what_causes_are()
    with RunReader(path) as reader:
        total = sum(reader.counts().values())
    shown = Shown(_form(total, as_json=as_json, lines=lines), total)
    with Keeping(path if keep else None) as keeping:
        if judge:
            _ask_judge(path, kinds[0], judge, judge_key, judge_window, shown, keeping)
        else:
            _classify(path, kinds, processes, shown, keeping, weights)
    shown.end(kinds)
    if keep and not as_json:
        _tell_stored(path, kinds, keeping.added)


def _classify(
    path: Path, kinds: Sequence[str], processes: int | None, shown: Shown, keeping: Keeping, weights: Path | None
) -> None:
    from agentlab.service.classifying import classified
    from agentlab.service.cli.classify_causes import own_weights
    from agentlab.service.side_by_side import ProcessLost

    model = own_weights(weights)
    # Where lines are shown all of them are: what is stored does not tell the whole line.
    known = shown.known if shown.form == "table" and keeping.keeps else None
    try:
        for each in classified(path, kinds, processes=processes, known=known, model=model):
            keeping.add(each.all_labels)  # what was seen is not lost to Ctrl-C
            shown.labels(each.id, each.labels)
            if each.found is not None:
                shown.cause(each.found)
            shown.trial_ended()
    except ProcessLost as error:
        kept = "; what was found until then is stored" if keeping.keeps else ""
        fail(f"{error}{kept}. Less memory is needed with --processes 1", FAILED)


def _ask_judge(
    path: Path, kind: str, judge: str, key_variable: str, window: int, shown: Shown, keeping: Keeping
) -> None:
    from agentlab.service import event_loop
    from agentlab.service.answers import judged_labels_of_run
    from agentlab.service.causes import judged_causes

    async def ask() -> None:
        if kind == "cause":
            async for found in judged_causes(path, judge, window_chars=window, key_variable=key_variable):
                keeping.add([label] if (label := found.as_label()) is not None else [])
                shown.cause(found)
            return
        async for name, label in judged_labels_of_run(path, cast("AnswerKind", kind), judge, key_variable):
            keeping.add([label])
            shown.labels(name, [label])

    event_loop.run(ask)


def _form(total: int, *, as_json: bool, lines: bool | None) -> Form:
    """Scripts get every line; a person who looks at a large run gets what the labels come to."""
    if as_json:
        return "json"
    if not sys.stdout.isatty():
        return "table" if lines is False else "lines"
    return "both" if lines or (lines is None and total <= FEW) else "table"


class Shown:
    """What is seen of the labels of a run."""

    def __init__(self, form: Form, total: int) -> None:
        self.form = form
        self._total = total
        self._trials: Counter[str] = Counter()
        """Trials that have labels of a name."""
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Trials by value, for each name."""
        self._undecided = 0
        """Failed trials for which no step was named."""
        self._ended = 0
        self._began = self._drawn = time.monotonic()
        self._moving = form == "table" and sys.stderr.isatty()

    def labels(self, name: str, labels: Iterable[Label]) -> None:
        """Labels of one trial's answer and steps."""
        from agentlab.service.safety_rates import NOTHING

        given = list(labels)
        self._count(given)
        for label in given:
            if label.value != NOTHING and self.form != "table":
                _print_label(name, label, as_json=self.form == "json")

    def cause(self, found: Found) -> None:
        """Which step decided a failure, or that nobody knows."""
        from agentlab.service.cli.classify_causes import show_cause

        label = found.as_label()
        if label is None:
            self._undecided += 1
        else:
            self._count([label])
        if self.form != "table":
            show_cause(found, as_json=self.form == "json")

    def known(self, labels: Sequence[Label]) -> None:
        """Labels of one trial that stood there already."""
        self._count(labels)
        self.trial_ended()

    def trial_ended(self) -> None:
        """Draw how far it is, now and then."""
        self._ended += 1
        now = time.monotonic()
        if self._moving and now - self._drawn >= REDRAWN_S:
            self._drawn = now
            pace = self._ended / (now - self._began)
            said = f"{self._ended} of {self._total} trials labelled, {pace:.0f}/s"
            print(f"\r{said} ", end="", file=sys.stderr, flush=True)

    def end(self, kinds: Sequence[str]) -> None:
        """What it came to."""
        if self._moving:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        if self.form in ("table", "both"):
            self._print_table()
        if "cause" in kinds and self.form != "json" and not self._trials["cause"] and not self._undecided:
            print("no trace of a failed trial is in it")

    def _count(self, labels: Sequence[Label]) -> None:
        """Each name of one trial comes at once, and each of its values counts once."""
        self._trials.update({label.name for label in labels})
        for name, value in {(label.name, label.value) for label in labels}:
            self._counts[name][value] += 1

    def _print_table(self) -> None:
        from agentlab.service.answers import OF_RUNS
        from agentlab.service.cli.tables import console, print_table

        rows = [row for kind in (*OF_RUNS, "cause") for row in self._rows(kind)]
        if rows:
            headings = ("kind", "label", "trials", "share")
            print_table(console(), headings, rows, right=frozenset({"trials", "share"}), shrink="label")

    def _rows(self, kind: str) -> Iterator[tuple[str, str, str, str]]:
        counts = Counter(self._counts[kind])
        n = self._trials[kind]
        if kind == "refusal":
            counts.update({"deflection": self._trials["deflection"]})
        if kind == "cause":
            n += self._undecided
            counts.update({"no step named": self._undecided})
        given = [value for value in counts if counts[value]]
        for place, value in enumerate(sorted(given, key=lambda value: (-counts[value], value))):
            count = counts[value]
            yield kind if not place else "", value, str(count), f"{100 * count / n:.1f} %"


def _print_label(name: str, label: Label, *, as_json: bool) -> None:
    from agentlab.traces.render import clean

    if as_json:
        row = {
            "id": name,
            "kind": label.name,
            "label": label.value,
            "score": label.confidence,
            "source": label.source,
            "author": label.author,
            "step": label.seq,
            "note": label.note,
        }
        print(json.dumps(row), flush=True)
        return
    step = "" if label.seq is None else f" at step {label.seq + 1}"
    note = f": {label.note}" if label.note else ""
    line = f"{name}: {label.name} {label.value}{step} (by {label.source} {label.author}){note}"
    print(clean(line).replace("\n", " "), flush=True)


def _tell_stored(path: Path, kinds: Sequence[str], count: int) -> None:
    from agentlab.service.answers import OF_RUNS
    from agentlab.service.cli.tables import run_argument

    stored = {0: "no label is new", 1: "1 label is stored"}.get(count, f"{count} labels are stored")
    has_rates = any(cast("SafetyKind", kind) in OF_RUNS for kind in kinds)
    rates = f"; rates with intervals: agentlab results show {run_argument(path)}" if has_rates else ""
    print(f"{stored}{rates}", flush=True)
