"""Model replay: recorded answers are served again, tools run for real in fresh boxes. Does the world still answer
the same?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from agentlab.service.replay.crew import each
from agentlab.service.replay.stage import Again, Stage, as_recorded, cannot_replay, error_of, replayed, stored_trace
from agentlab.service.trial import Result
from agentlab.traces.divergence import Divergence, first_divergence
from agentlab.traces.events import ToolCallEvent

if TYPE_CHECKING:
    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import Say
    from agentlab.service.board import Board
    from agentlab.traces.reader import RunReader
    from agentlab.traces.rows import AttemptRow

Status: TypeAlias = Literal["same", "diverged", "failed", "skipped"]
STATUSES: tuple[Status, ...] = ("same", "diverged", "failed", "skipped")


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What replaying a trial came to."""

    trial: int
    task: str
    sample: str
    epoch: int
    status: Status
    """`same` in all that was compared, `diverged`, `failed` where no box or task could be had, or `skipped`."""
    tool_calls: int = 0
    """Carried out again."""
    divergence: Divergence | None = None
    reason: str = ""
    """Why it failed or was skipped."""


async def replay(stage: Stage, reader: RunReader, board: Board, say: Say) -> Sequence[Replayed]:
    """Replay the stage's trials, in order of their numbers. Raises SandboxError where the engine is absent."""
    found = [_outcome(left.row, "skipped", reason=left.reason) for left in stage.left]
    async with stage.boxes(say) as pool:
        board.watch(pool)
        stage.expect(pool)

        async def one(again: Again) -> None:
            ended = await _replay_one(again, reader, pool)
            found.append(ended)
            board.trial_ended(again.row.task, _progress(ended))

        async with board.shown():
            await each(one, stage.trials, pool)
    return sorted(found, key=lambda ended: ended.trial)


async def _replay_one(again: Again, reader: RunReader, pool: Pool | None) -> Replayed:
    recorded = stored_trace(reader, again.row)
    reason = cannot_replay(again, recorded)
    if not reason and not recorded.tool_steps and again.route.spec is None:
        reason = "no tool was called, and nothing was graded in a box"
    if reason:
        return _outcome(again.row, "skipped", reason=reason)
    trace, result = await replayed(again, as_recorded(again.setting, recorded), recorded, pool)
    calls = len(trace.of(ToolCallEvent))
    found = first_divergence(recorded, trace)
    if found is None and (error := error_of(result)) and again.row.outcome != result.outcome:
        return _outcome(again.row, "failed", calls, reason=error)
    return _outcome(again.row, "diverged" if found else "same", calls, found)


def _outcome(
    row: AttemptRow, status: Status, calls: int = 0, divergence: Divergence | None = None, reason: str = ""
) -> Replayed:
    return Replayed(
        trial=row.trial,
        task=row.task,
        sample=row.sample,
        epoch=row.epoch,
        status=status,
        tool_calls=calls,
        divergence=divergence,
        reason=reason,
    )


def _progress(ended: Replayed) -> Result:
    """For the board: the share of trials that went the same way stands where a run shows its score."""
    if ended.status == "failed":
        return Result("sandbox", error_kind="replay", error_message=ended.reason)
    if ended.status == "skipped":
        return Result("scored")
    return Result("scored", float(ended.status == "same"))
