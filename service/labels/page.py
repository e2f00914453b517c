"""A trace as the lines of a screen: cleaned, wrapped to its width, and without what would give the outcome away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from rich.cells import cell_len, chop_cells

from agentlab.traces.events import ModelCall, Said, ToolCallEvent
from agentlab.traces.render import clean, render_trace
from agentlab.traces.rows import StoredEvent

MAX_CHARS = 100_000
MAX_LINES = 4000
"""How much of a single text is shown: more is read by `traces show --full`, not by a person who labels."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the screen, and the step (place in the trace) that it belongs to."""

    text: str
    seq: int | None
    title: bool = False


def blind(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    """What was said and done. Verdicts, errors, limits and the work of graders are left out: they tell the outcome. The
    name of the model is left out too: who knows it judges the name.
    """
    shown = []
    for stored in events:
        event = stored.event
        if isinstance(event, ModelCall) and event.purpose == "agent":
            shown.append(StoredEvent(stored.seq, msgspec.structs.replace(event, model="", served_model="")))
        elif isinstance(event, Said | ToolCallEvent):
            shown.append(stored)
    return shown


def page(events: Sequence[StoredEvent], width: int) -> list[Line]:
    """The lines of a trace, none of them wider than `width` cells."""
    if not events:
        return [Line("nothing is stored that was said or done", None)]
    lines = []
    blocks = render_trace(events, width=width, max_chars=MAX_CHARS, max_lines=MAX_LINES)
    for stored, block in zip(events, blocks, strict=True):
        for number, text in enumerate(block.split("\n")):
            pieces = fitted(text, width)
            lines += [Line(piece, stored.seq, title=number == 0 and place == 0) for place, piece in enumerate(pieces)]
    return lines


def fitted(text: str, width: int) -> list[str]:
    """`text`, cleaned, in pieces that are at most `width` cells wide (a Chinese character takes two)."""
    text = clean(text).expandtabs(4).replace("\n", " ")
    return [text] if cell_len(text) <= width else chop_cells(text, width)


def wrapped(words: Iterable[str], width: int, gap: str = "   ") -> list[str]:
    """Words, none of them broken unless it is wider than a line, filled into lines."""
    lines = [""]
    for word in words:
        for piece in fitted(word, width):
            longer = f"{lines[-1]}{gap}{piece}" if lines[-1] else piece
            if cell_len(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines
