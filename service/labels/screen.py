"""The screen of a labelling round: a trace to read, keys for its categories, everything by keyboard.

Nothing that is shown comes to the terminal uncleaned, and nothing that was decided waits to be stored.
"""

from __future__ import annotations

import curses
import locale
import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType

from agentlab.service.labels.page import Line, blind, fitted, page, wrapped
from agentlab.service.labels.round import LabelRound
from agentlab.traces.guide import Category
from agentlab.traces.reader import RunReader
from agentlab.traces.rows import AttemptRow

HELP = "arrows or j k scroll, space b page, g G ends, h l step, m mark step, n note, s skip, u undo, ? help, q quit"
_ESCAPE, _ENTER, _ERASE = "\x1b", ("\n", "\r"), ("\x7f", "\b")
_MAX_NOTE = 2000
_MAX_NO_KEYS = 100

Key = str | int
Lines = Callable[[AttemptRow], Sequence[str]]


def no_lines(row: AttemptRow) -> Sequence[str]:
    """Nothing is told of an attempt: the round is blind."""
    return ()


def show(round_: LabelRound, reader: RunReader, *, told: Lines = no_lines, open_: bool = False) -> None:
    """Carry a round out in this terminal until it is done or the person leaves. `told` are lines about an attempt
    that stand above its trace; with `open_` verdicts and errors are shown as well.

    Raises `curses.error` where the terminal cannot show it, and what storing raises.
    """
    locale.setlocale(locale.LC_ALL, "")
    os.environ.setdefault("ESCDELAY", "25")
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        curses.wrapper(lambda window: _Screen(window, round_, reader, told, open_).run())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """Give the terminal back before going: what was decided is stored."""
    raise SystemExit(128 + number)


class _Screen:
    def __init__(self, window: curses.window, round_: LabelRound, reader: RunReader, told: Lines, open_: bool) -> None:
        self._window = window
        self._round = round_
        self._reader = reader
        self._told = told
        self._open = open_
        self._lines: list[Line] = []
        self._top = 0
        self._step: int | None = None
        self._shown: AttemptRow | None = None
        self._typed = ""
        """The first of two keys."""
        self._marking = False
        self._status = ""
        window.keypad(True)
        curses.use_default_colors()
        try:
            curses.curs_set(0)
        except curses.error:
            return  # a terminal whose cursor cannot be hidden

    def run(self) -> None:
        while True:
            if self._round.current is not self._shown:
                self._turn_to(self._round.current)
            self._draw()
            key = self._key()
            self._status = ""
            if key == curses.KEY_RESIZE:
                self._lay_out()
            elif self._typed or self._marking:
                self._choose(key)
            elif key == "q":
                return
            else:
                self._act(key)

    # What the keys do.

    def _act(self, key: Key) -> None:
        if key == "u":
            last = self._round.undo()
            what = "a note" if last is not None and last.name == "note" else ""
            self._status = "nothing to undo" if last is None else f"taken back: {what or last.value or 'a withdrawal'}"
        elif key == "?":
            self._help()
        elif self._round.current is None:
            self._status = "all traces of this round are labelled: u takes the last label back, q leaves"
        elif not self._move(key):
            self._judge(key)

    def _judge(self, key: Key) -> None:
        if key == "m":
            self._marking = self._step is not None
            self._status = "" if self._marking else "there is no step to mark"
        elif key == "n":
            self._note()
        elif key == "s":
            self._round.skip()
            self._shown = None
        else:
            self._choose(key)

    def _choose(self, key: Key) -> None:
        """Follow a key of a category; any other leaves the choice."""
        categories = self._categories()
        typed = self._typed + key if isinstance(key, str) else ""
        chosen = next((category for category in categories if category.key == typed), None)
        if chosen is None and typed and any(category.key.startswith(typed) for category in categories):
            self._typed = typed
            return
        marking, self._typed, self._marking = self._marking, "", False
        if chosen is None:
            if key != _ESCAPE:
                self._status = "this key says nothing here; ? shows those that do"
        elif marking and self._step is not None:
            marked = self._round.mark(self._step, chosen.name)
            self._status = f"step {self._step + 1}: {chosen.name if marked else 'no longer marked'}"
        elif (row := self._round.current) is not None:
            self._round.decide(chosen.name)
            self._status = f"stored: trial {row.trial} is {chosen.name}"

    def _note(self) -> None:
        row = self._round.current
        if row is None:
            return
        marked = self._step if self._step in self._round.marks(row) else None
        where = "the trace" if marked is None else f"step {marked + 1}"
        text = self._ask(f"note on {where} (Enter stores, Esc leaves): ", self._round.notes(row).get(marked, ""))
        if text is not None:
            self._round.note(text.strip(), marked)
            self._status = f"note on {where} stored"

    def _move(self, key: Key) -> bool:
        """Scroll, or go from step to step. Returns whether the key was one for that."""
        room, last = self._room(), max(0, len(self._lines) - self._room())
        by_line: dict[Key, int] = {curses.KEY_UP: -1, "k": -1, curses.KEY_DOWN: 1, "j": 1}
        by_page: dict[Key, int] = {curses.KEY_PPAGE: -1, "b": -1, curses.KEY_NPAGE: 1, "f": 1, " ": 1}
        by_step: dict[Key, int] = {curses.KEY_LEFT: -1, "h": -1, curses.KEY_RIGHT: 1, "l": 1, "\t": 1}
        ends: dict[Key, int] = {curses.KEY_HOME: 0, "g": 0, curses.KEY_END: last, "G": last}
        if key in by_step:
            self._go_to_step(by_step[key])
            return True
        if key in by_line or key in by_page:
            wanted = self._top + (by_line[key] if key in by_line else by_page[key] * max(1, room - 1))
        elif key in ends:
            wanted = ends[key]
        else:
            return False
        up, self._top = wanted < self._top, min(max(0, wanted), last)
        shown = [line.seq for line in self._lines[self._top : self._top + room] if line.seq is not None]
        if shown and self._step not in shown:
            self._step = shown[-1 if up else 0]
        return True

    def _go_to_step(self, by: int) -> None:
        titles = [place for place, line in enumerate(self._lines) if line.title]
        here = next((n for n, place in enumerate(titles) if self._lines[place].seq == self._step), None)
        if not titles or here is None:
            return
        place = titles[min(max(0, here + by), len(titles) - 1)]
        self._step = self._lines[place].seq
        if not self._top <= place < self._top + self._room():
            self._top = min(place, max(0, len(self._lines) - self._room()))

    # What is shown.

    def _turn_to(self, row: AttemptRow | None) -> None:
        self._shown, self._top = row, 0
        self._lay_out()
        self._step = next((line.seq for line in self._lines if line.seq is not None), None)

    def _lay_out(self) -> None:
        row = self._shown
        if row is None:
            self._lines = []
            return
        events = list(self._reader.events(row.trial, row.attempt))
        told = [Line(piece, None) for text in self._told(row) for piece in fitted(text, self._width())]
        self._lines = told + page(events if self._open else blind(events), self._width() - 2)
        self._top = min(self._top, max(0, len(self._lines) - self._room()))

    def _width(self) -> int:
        return max(20, self._window.getmaxyx()[1] - 1)

    def _room(self) -> int:
        """How many lines of the trace there is room for."""
        return max(1, self._window.getmaxyx()[0] - len(self._head()) - len(self._foot()))

    def _head(self) -> list[str]:
        round_, row = self._round, self._round.current
        who = f"{round_.annotator}, guide {round_.guide.reference}, {round_.decided} of {len(round_.rows)} labelled"
        if row is None:
            return fitted(who, self._width())[:1]
        said = f", you said {found}" if (found := round_.decision(row)) else ""
        note = f", with a note: {found}" if (found := round_.notes(row).get(None)) else ""
        what = f"trial {row.trial}: {row.task}/{row.sample}@{row.epoch}{said}{note}"
        return [fitted(line, self._width())[0] for line in (who, what)]

    def _foot(self) -> list[str]:
        rows = max(2, self._window.getmaxyx()[0] // 2 - 1)
        asked = f"step {(self._step or 0) + 1} is:" if self._marking else self._round.guide.question
        legend = wrapped([asked, *self._legend()], self._width())[:rows]
        keys = self._status or ("Esc leaves" if self._typed or self._marking else HELP)
        return [*legend, *wrapped(keys.split(" "), self._width(), " ")[:2]]

    def _legend(self) -> list[str]:
        """The keys that lead on from what was typed: categories, or groups of them."""
        found: dict[str, str] = {}
        for category in self._categories():
            if category.key.startswith(self._typed):
                key = category.key[: len(self._typed) + 1]
                found[key] = category.name if key == category.key else category.name.partition(".")[0]
        return [f"[{key[-1]}] {name}" for key, name in found.items()]

    def _categories(self) -> tuple[Category, ...]:
        return self._round.guide.step_categories if self._marking else self._round.guide.categories

    def _draw(self) -> None:
        window, width = self._window, self._width()
        window.erase()
        head, foot = self._head(), self._foot()
        for y, text in enumerate(head):
            self._put(y, 0, text, curses.A_BOLD)
        row = self._round.current
        if row is None:
            self._put(len(head) + 1, 0, "All traces of this round are labelled: u takes the last one back, q leaves.")
        else:
            self._draw_trace(row, len(head))
        top = window.getmaxyx()[0] - len(foot)
        for y, text in enumerate(foot):
            self._put(top + y, 0, text.ljust(width), curses.A_REVERSE if y == 0 else curses.A_NORMAL)
        window.refresh()

    def _draw_trace(self, row: AttemptRow, y: int) -> None:
        marks, notes = self._round.marks(row), self._round.notes(row)
        for line in self._lines[self._top : self._top + self._room()]:
            here = line.seq is not None and line.seq == self._step
            self._put(y, 0, ">" if here and line.title else "|" if here else " ")
            text = line.text
            if line.title and line.seq is not None:
                marked = f"<{marks[line.seq]}> " if line.seq in marks else ""
                noted = f"<note: {notes[line.seq]}> " if line.seq in notes else ""
                text = fitted(f"{marked}{noted}{text}", self._width() - 2)[0]
            self._put(y, 2, text, curses.A_BOLD if line.title else curses.A_NORMAL)
            y += 1

    def _put(self, y: int, x: int, text: str, how: int = curses.A_NORMAL) -> None:
        encoding = self._window.encoding
        plain = text.encode(encoding, "replace").decode(encoding)
        try:
            self._window.addstr(y, x, plain, how)
        except curses.error:
            return  # a window that has become too small: it is drawn again at once

    def _help(self) -> None:
        """Every category with its definition, a page at a time."""
        guide = self._round.guide
        texts = [f"{guide.reference}: {guide.question}", ""]
        texts += [f"{category.key}  {category.name}: {category.definition}" for category in guide.categories]
        if guide.steps:
            texts += ["", "Of steps:", *(f"{step.key}  {step.name}: {step.definition}" for step in guide.steps)]
        lines = [line for text in [*texts, "", HELP] for line in wrapped(text.split(" "), self._width(), " ")]
        room = max(1, self._window.getmaxyx()[0] - 1)
        for start in range(0, len(lines), room):
            self._window.erase()
            for y, line in enumerate(lines[start : start + room]):
                self._put(y, 0, line)
            self._put(room, 0, "any key goes on", curses.A_REVERSE)
            self._window.refresh()
            self._key()

    def _ask(self, prompt: str, text: str) -> str | None:
        """A line of text, None where it was left by Escape."""
        while True:
            y = self._window.getmaxyx()[0] - 1
            self._window.move(y, 0)
            self._window.clrtoeol()
            self._put(y, 0, fitted(f"{prompt}{text}_", self._width())[-1], curses.A_BOLD)
            self._window.refresh()
            key = self._key()
            if key in _ENTER or key == curses.KEY_ENTER:
                return text
            if key == _ESCAPE:
                return None
            if key in _ERASE or key == curses.KEY_BACKSPACE:
                text = text[:-1]
            elif isinstance(key, str) and key.isprintable() and len(text) < _MAX_NOTE:
                text += key

    def _key(self) -> Key:
        for _ in range(_MAX_NO_KEYS):
            try:
                return self._window.get_wch()
            except curses.error:
                continue  # a signal came instead of a key
        raise SystemExit(128 + signal.SIGHUP)  # the terminal is gone
