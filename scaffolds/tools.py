"""The `tools` scaffold: model and tools in turns until the agent submits, answers in plain text, or reaches a limit."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from agentlab.models.protocol import ModelError
from agentlab.models.tools import call_tool
from agentlab.sandboxes.protocol import SandboxError
from agentlab.scaffolds import BOX_RESOURCES
from agentlab.scaffolds.box_tools import MAX_TIMEOUT_S
from agentlab.scaffolds.direct import response_flags, submit_response
from agentlab.scaffolds.episode import Episode
from agentlab.tasks.types import Submission
from agentlab.traces.events import (
    ContentPart,
    Flag,
    LimitReached,
    Message,
    TextPart,
    ToolCall,
    ToolCallEvent,
    ToolResult,
)

if TYPE_CHECKING:
    from agentlab.models.protocol import ChatResponse
    from agentlab.models.tools import Tool
    from agentlab.sandboxes.protocol import Sandbox

SUBMIT = "submit"
TOOL_GRACE_S = 30.0
"""What a tool that stops its own command may take beyond its time-out before it counts as hanging."""


async def tools(episode: Episode) -> Submission:
    """Run one episode. Ends at `submit`, at a message without a tool call (its text is the answer), or at a limit (a
    flag).
    """
    async with AsyncExitStack() as stack:
        return await _Loop(episode, stack).run()


class _Loop:
    """The state of one episode: the growing conversation, what was spent, and the shell."""

    def __init__(self, episode: Episode, stack: AsyncExitStack) -> None:
        self.episode = episode
        self.stack = stack
        self.messages = list(episode.messages)
        self.specs = tuple(tool.spec for tool in episode.tools.values())
        self.usage = episode.usage
        self.cost = 0.0
        self.turns = episode.turns
        self.clock = anyio.CancelScope()
        self.resources: dict[str, Any] = {}

    async def run(self) -> Submission:
        limit = self.episode.limits.time_s
        with anyio.move_on_after(limit) as self.clock:
            return await self._take_turns()
        return self._stop("time_limit", limit or 0.0)

    async def _take_turns(self) -> Submission:
        while True:
            reached = self._limit_reached()
            if reached:
                return self._stop(*reached)
            try:
                response = await self._query()
            except ModelError as error:
                # The context filled up with the agent's own turns: what it did so far is still worth scoring.
                if error.kind == "context_length" and self.turns:
                    return self._stop("token_limit", float(self.usage.input_tokens + self.usage.output_tokens))
                if error.kind == "cost_limit":
                    return self._stop("cost_limit", self.cost)
                raise
            if not response.message.tool_calls:
                return submit_response(response, tuple(self.messages[:-1]))
            answer = await self._answer_calls(response.message.tool_calls)
            if answer is not None:
                return Submission(answer=answer, messages=tuple(self.messages), flags=response_flags(response))

    async def _query(self) -> ChatResponse:
        episode = self.episode
        response = await episode.model.chat(
            self.messages,
            tools=self.specs,
            sampling=episode.sampling,
            recorder=episode.recorder,
            epoch=episode.epoch,
        )
        self.turns += 1
        self.usage += response.usage
        self.cost += response.cost_usd or 0.0
        message = response.message
        if message.reasoning and not episode.send_reasoning:
            message = Message(role="assistant", content=message.content, tool_calls=message.tool_calls)
        self.messages.append(message)
        return response

    async def _answer_calls(self, calls: tuple[ToolCall, ...]) -> str | None:
        """Carry out the calls of one message and append their results in order; the answer, once one of them submits.

        Calls that touch the box run one after the other, so that a replay sees the same world; runs of calls that do
        not (host-side tools) run at the same time.
        """
        index = 0
        while index < len(calls):
            batch = self._batch(calls, index)
            results: list[ToolResult | None] = [None] * len(batch)
            answers: list[str] = []
            if len(batch) == 1:
                await self._carry_out(batch[0], 0, results, answers)
            else:
                async with anyio.create_task_group() as group:
                    for place, call in enumerate(batch):
                        group.start_soon(self._carry_out, call, place, results, answers)
            for call, result in zip(batch, results, strict=True):
                if result is not None:
                    self.messages.append(_result_message(call, result))
            if answers:
                return answers[0]
            index += len(batch)
        return None

    def _batch(self, calls: tuple[ToolCall, ...], start: int) -> tuple[ToolCall, ...]:
        end = start
        while end < len(calls) and self._runs_beside_others(calls[end]):
            end += 1
        return calls[start : max(end, start + 1)]

    def _runs_beside_others(self, call: ToolCall) -> bool:
        tool = self.episode.tools.get(call.name)
        return tool is not None and call.name != SUBMIT and not BOX_RESOURCES.intersection(tool.resources)

    async def _carry_out(
        self, call: ToolCall, place: int, results: list[ToolResult | None], answers: list[str]
    ) -> None:
        started = time.monotonic()
        result = await self._call(call)
        if call.name == SUBMIT and not result.error:
            answers.append(str(call.arguments.get("answer", "")))
        results[place] = result
        self.episode.recorder.record(
            ToolCallEvent(at=time.time(), call=call, result=result, duration_ms=(time.monotonic() - started) * 1e3)
        )

    async def _call(self, call: ToolCall) -> ToolResult:
        limits = self.episode.limits
        tool = self.episode.tools.get(call.name)
        resources: dict[str, Any] = {}
        timeout_s = limits.tool_timeout_s
        if tool is not None and not call.error:
            resources = await self._resources(tool)
            if "timeout" in tool.spec.parameters["properties"]:
                call, timeout_s = _with_timeout(tool, call, limits.tool_timeout_s)
        return await call_tool(
            self.episode.tools,
            call,
            resources,
            timeout_s=timeout_s,
            max_output=limits.tool_output,
            reraise=(SandboxError,),
        )

    async def _resources(self, tool: Tool) -> dict[str, Any]:
        wanted = BOX_RESOURCES.intersection(tool.resources)
        if wanted and "sandbox" not in self.resources:
            if self.episode.box is None:
                raise RuntimeError(f"tool {tool.spec.name} acts in a box, and this episode has none")
            self.resources["sandbox"] = await self._wait_for_box(self.episode.box)
        if "shell" in wanted and "shell" not in self.resources:
            shell = await self.resources["sandbox"].open_shell()
            if not self.episode.leave_running:
                self.stack.push_async_callback(shell.close)
            self.resources["shell"] = shell
        return self.resources

    async def _wait_for_box(self, box: Callable[[], Awaitable[Sandbox]]) -> Sandbox:
        """The box. Waiting for it stops the clock: how many boxes a run may have is no property of the agent."""
        left = self.clock.deadline - anyio.current_time()
        self.clock.deadline = math.inf
        try:
            return await box()
        finally:
            self.clock.deadline = anyio.current_time() + left

    def _limit_reached(self) -> tuple[Flag, float] | None:
        limits = self.episode.limits
        if limits.turns is not None and self.turns >= limits.turns:
            return "turn_limit", float(limits.turns)
        spent = self.usage.input_tokens + self.usage.output_tokens
        if limits.tokens is not None and spent >= limits.tokens:
            return "token_limit", float(spent)
        if limits.cost_usd is not None and self.cost >= limits.cost_usd:
            return "cost_limit", self.cost
        return None

    def _stop(self, limit: Flag, value: float) -> Submission:
        self.episode.recorder.record(LimitReached(at=time.time(), limit=limit, value=value))
        last = next((m.text for m in reversed(self.messages) if m.role == "assistant"), "")
        return Submission(answer=last, messages=tuple(self.messages), flags=(limit,))


def _with_timeout(tool: Tool, call: ToolCall, most: float) -> tuple[ToolCall, float]:
    """For a tool that stops its own command at `timeout`: the call with its time-out, and when it counts as hanging.

    A call that names no time-out gets the tool's default, or the harness's limit where that is less.
    """
    asked = call.arguments.get("timeout")
    if not isinstance(asked, int | float):
        default = tool.spec.parameters["properties"]["timeout"].get("default", most)
        asked = min(default, max(1, round(most))) if isinstance(default, int | float) else most
        if "timeout" not in call.arguments and asked != default:
            call = msgspec.structs.replace(call, arguments={**call.arguments, "timeout": asked})
    return call, min(max(float(asked), 0.0), MAX_TIMEOUT_S) + TOOL_GRACE_S


def _result_message(call: ToolCall, result: ToolResult) -> Message:
    parts: tuple[ContentPart, ...] = (TextPart(result.content), *result.images)
    content = parts if result.images else result.content
    return Message(role="tool", content=content, tool_call_id=call.id, name=call.name)
