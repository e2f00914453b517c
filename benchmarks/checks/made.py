"""Made traces of 50 steps of 1 KB, and how many of them two cores work off in a second."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable

from agentlab.traces.events import Event, Message, ModelCall, Scored, ToolCall, ToolCallEvent, ToolResult

TRACES, STEPS = 1000, 50
BAR = 200
"""Traces a second that detectors and classifiers must reach on two cores."""


def synthetic(number: int) -> list[Event]:
    """A trace of 50 steps of 1 KB: a model that works in a box, with tests that fail and edits in between."""
    events: list[Event] = []
    messages = [Message(role="user", content="Fix `parser.py`: the last row is lost. Hidden tests then decide.")]
    for turn in range(STEPS // 2):
        command = f"python -m pytest -q tests/test_{turn}.py" if turn % 3 else f"sed -i 's/{turn}/{number}/' parser.py"
        call = ToolCall(f"c{turn}", "bash", {"command": command})
        said = f"Step {turn}. " + "I look at what the parser does. " * 32
        answer = Message(role="assistant", content=said, tool_calls=(call,))
        events.append(ModelCall(at=0, model="m", messages=tuple(messages), response=answer, stop_reason="tool_calls"))
        rows = "row of output that tells little of it " * 26
        output = f"{rows}\n{turn} failed, {number} passed in 0.1s\n[exit code {turn % 2}]"
        events.append(ToolCallEvent(at=0, call=call, result=ToolResult(output)))
        messages += [answer, Message(role="tool", content=output, tool_call_id=call.id)]
    return [*events, Scored(at=0, scorer="s", version=1, value=0.0)]


def rate(work: Callable[[list[Event]], object]) -> float:
    """Traces a second of CPU time, one process a core: what else runs on the machine does not count, nor do the
    making of the traces and the first of all calls, which loads weights.
    """
    cores = min(2, os.cpu_count() or 1)
    shares = [(work, range(core, TRACES, cores)) for core in range(cores)]
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        return TRACES / max(pool.starmap(_seconds, shares, chunksize=1))


def _seconds(work: Callable[[list[Event]], object], numbers: range) -> float:
    traces = [synthetic(number) for number in numbers]
    work(traces[0])
    began = time.process_time()
    for events in traces:
        work(events)
    return time.process_time() - began
