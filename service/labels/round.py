"""A round of labelling: which traces a person judges, in which order, and what they have said so far.

Every decision is durable before the next one. What was said is read back from the run, so that a round goes on where
it was left, however that was.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from agentlab.service.labelling import add_labels
from agentlab.traces.guide import Guide
from agentlab.traces.labels import WITHDRAWN, standing
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import AttemptRow, Label

NOTE = "note"
"""The name under which remarks are stored, their text in the label's note."""
REMARK = "remark"
UNDONE = "undone"
"""The note of a withdrawal by `undo`; what held before is said again in the same moment."""
SETTLES = "settles: "
"""How the note of an adjudicator's label begins."""


Place: TypeAlias = tuple[int, int]
"""A trial and the number of an attempt at it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which traces of a run are judged."""

    tasks: tuple[str, ...] = ()
    failed: bool = False
    limit: int | None = None
    seed: int = 0


def chosen(reader: RunReader, choice: Choice, annotator: str) -> list[AttemptRow]:
    """The last attempts to judge, in an order of this annotator's own.

    Which ones a limit leaves depends on the seed alone, so that several annotators judge the same. Attempts that never
    ended are left out.
    """
    rows = [
        row
        for row in reader.trials()
        if row.outcome is not None
        and (not choice.tasks or row.task in choice.tasks)
        and (not choice.failed or row.value is None or row.value < 1)
    ]
    random.Random(choice.seed).shuffle(rows)
    rows = sorted(rows[: choice.limit], key=lambda row: row.trial)
    random.Random(f"{choice.seed} {annotator}").shuffle(rows)
    return rows


class LabelRound:
    """One person's round over some attempts of a run."""

    def __init__(
        self,
        run_dir: Path,
        rows: Sequence[AttemptRow],
        guide: Guide,
        annotator: str,
        *,
        settling: Mapping[Place, str] | None = None,
    ) -> None:
        """`settling` makes it a round of adjudication: what is settled at each attempt, in words. Such a round goes by
        labels that settle something, any other by those that do not.
        """
        self.guide = guide
        self.annotator = annotator
        self.rows = tuple(rows)
        self.said: list[Label] = []
        """What holds of this person's, and what it replaced, in the order it was said."""
        self._run_dir = run_dir
        self._settling = settling
        places = {(row.trial, row.attempt) for row in rows}
        with RunReader(run_dir) as reader:
            for label in reader.labels():
                if (label.trial, label.attempt) in places and self._is_ours(label):
                    self._take(label)
        self._waiting = [row for row in rows if self.decision(row) is None]

    @property
    def current(self) -> AttemptRow | None:
        """The attempt to judge now; None where all are."""
        return self._waiting[0] if self._waiting else None

    @property
    def decided(self) -> int:
        return sum(self.decision(row) is not None for row in self.rows)

    def decision(self, row: AttemptRow) -> str | None:
        """What this person said of the whole attempt, by this version of the guide."""
        found = self._holds(row, self.guide.label_name, None)
        return None if found is None else found.value

    def marks(self, row: AttemptRow) -> dict[int, str]:
        """What this person said of single steps, by their place."""
        steps = {label.seq for label in self.said if (label.trial, label.attempt) == (row.trial, row.attempt)}
        held = {seq: self._holds(row, self.guide.label_name, seq) for seq in steps if seq is not None}
        return {seq: label.value for seq, label in held.items() if label is not None}

    def notes(self, row: AttemptRow) -> dict[int | None, str]:
        """Remarks by the step that they are about; None: the whole."""
        steps = {label.seq for label in self.said if (label.trial, label.attempt) == (row.trial, row.attempt)}
        held = {seq: self._holds(row, NOTE, seq) for seq in steps | {None}}
        return {seq: label.note for seq, label in held.items() if label is not None}

    def decide(self, value: str) -> None:
        """Say what the current attempt is, and go on to the next."""
        row = self._here()
        self._say(row, self.guide.label_name, value)
        self._waiting.remove(row)

    def mark(self, seq: int, value: str) -> bool:
        """Say what a step is; saying the same again takes it back. Returns whether it is marked now."""
        row = self._here()
        taken_back = self.marks(row).get(seq) == value
        self._say(row, self.guide.label_name, WITHDRAWN if taken_back else value, seq=seq)
        return not taken_back

    def note(self, text: str, seq: int | None = None) -> None:
        """Store a remark about the current attempt or a step of it; an empty one takes it back."""
        self._say(self._here(), NOTE, REMARK if text else WITHDRAWN, seq=seq, note=text)

    def skip(self) -> None:
        """Put the current attempt behind the others. It comes again, unless it is judged."""
        row = self._waiting.pop(0)
        if self.decision(row) is None:
            self._waiting.append(row)

    def undo(self) -> Label | None:
        """Take back what was said last, of whichever attempt, and go there. None where nothing was said."""
        if not self.said:
            return None
        last = self.said[-1]
        before = next((label for label in reversed(self.said[:-1]) if _thing(label) == _thing(last)), None)
        taken = msgspec.structs.replace(last, value=WITHDRAWN, note=self._undone, at=0.0)
        self._store([taken] if before is None else [taken, msgspec.structs.replace(before, at=0.0)])
        row = next(row for row in self.rows if (row.trial, row.attempt) == (last.trial, last.attempt))
        self._waiting = [row, *(other for other in self._waiting if other is not row)]
        return last

    def _here(self) -> AttemptRow:
        if not self._waiting:
            raise LookupError("every trace of this round is judged")
        return self._waiting[0]

    @property
    def _undone(self) -> str:
        return UNDONE if self._settling is None else f"{SETTLES}{UNDONE}"

    def _is_ours(self, label: Label) -> bool:
        ours = label.source == "person" and label.author == self.annotator and label.guide == self.guide.reference
        this_kind = settles(label) == (self._settling is not None)
        return ours and (label.name == NOTE or (label.name == self.guide.label_name and this_kind))

    def _say(self, row: AttemptRow, name: str, value: str, *, seq: int | None = None, note: str = "") -> None:
        if self._settling is not None and name != NOTE:
            note = f"{SETTLES}{self._settling.get((row.trial, row.attempt), '')}"
        label = Label(
            trial=row.trial,
            attempt=row.attempt,
            seq=seq,
            name=name,
            value=value,
            source="person",
            author=self.annotator,
            guide=self.guide.reference,
            note=note,
        )
        self._store([label])

    def _store(self, labels: list[Label]) -> None:
        add_labels(self._run_dir, labels)
        for label in labels:
            self._take(label)

    def _take(self, label: Label) -> None:
        """Follow what is stored. What is taken back goes, and so does what was there before: it is said again."""
        if label.value != WITHDRAWN or label.note != self._undone:
            self.said.append(label)
            return
        same = [place for place, said in enumerate(self.said) if _thing(said) == _thing(label)]
        for place in reversed(same[-2:]):
            del self.said[place]

    def _holds(self, row: AttemptRow, name: str, seq: int | None) -> Label | None:
        thing = (row.trial, row.attempt, seq, name)
        found = next((label for label in reversed(self.said) if _thing(label) == thing), None)
        return None if found is None or found.value == WITHDRAWN else found


def _thing(label: Label) -> tuple[int, int, int | None, str]:
    return label.trial, label.attempt, label.seq, label.name


def settles(label: Label) -> bool:
    """Whether it is an adjudicator's."""
    return label.note.startswith(SETTLES)


def disputes(labels: Iterable[Label], name: str) -> dict[Place, list[Label]]:
    """Attempts on which people disagree, by trial and attempt, with what each of them says.

    What was settled after all of it was said is left out.
    """
    about = [label for label in labels if label.source == "person" and label.name == name and label.seq is None]
    people: dict[Place, list[Label]] = {}
    for label in standing(label for label in about if not settles(label)):
        people.setdefault((label.trial, label.attempt), []).append(label)
    settled = {(label.trial, label.attempt): label.at for label in standing(label for label in about if settles(label))}
    return {
        place: given
        for place, given in people.items()
        if len({label.value for label in given}) > 1 and settled.get(place, 0.0) < max(label.at for label in given)
    }
