"""Traces put together step by step: as `agentlab run` records them, and as imports of others' runs look."""

from __future__ import annotations

from typing import Any, Literal

from agentlab.traces.events import (
    ErrorRaised,
    Event,
    Flag,
    LimitReached,
    Message,
    ModelCall,
    ModelRetry,
    Outcome,
    Said,
    Scored,
    StopReason,
    ToolCall,
    ToolCallEvent,
    ToolResult,
    ToolSpec,
)
from agentlab.traces.steps import Trace, trace_of

SYSTEM = (
    "You work in a Linux sandbox without a network; your files are in /workspace. Use the tools to do the task, check "
    "your work, then call submit."
)
TOOLS = tuple(ToolSpec(name, "", {"type": "object"}) for name in ("bash", "python", "read", "edit", "submit"))
Refusal = Literal["", "unknown_tool", "bad_arguments", "timeout", "failed"]


class Ours:
    """A conversation with the tools of tools/1, or with none."""

    def __init__(self, prompt: str, *, tools: bool = True) -> None:
        self.events: list[Event] = []
        self.tools = TOOLS if tools else ()
        opening = [Message(role="system", content=SYSTEM)] if tools else []
        self.messages = [*opening, Message(role="user", content=prompt)]
        self.calls = 0

    def say(self, text: str, *calls: ToolCall, stop: StopReason = "unknown") -> Ours:
        response = Message(role="assistant", content=text, tool_calls=calls)
        reason: StopReason = stop if stop != "unknown" else "tool_calls" if calls else "stop"
        self.events.append(
            ModelCall(
                at=1, model="m", messages=tuple(self.messages), tools=self.tools, response=response, stop_reason=reason
            )
        )
        self.messages.append(response)
        return self

    def call(self, name: str, arguments: dict[str, Any], content: str, error: Refusal = "", *, say: str = "") -> Ours:
        self.calls += 1
        return self.answered(ToolCall(f"c{self.calls}", name, arguments), content, error, say=say)

    def answered(self, call: ToolCall, content: str, error: Refusal = "", *, say: str = "") -> Ours:
        self.say(say, call)
        self.events.append(ToolCallEvent(at=1, call=call, result=ToolResult(content, error)))
        self.messages.append(Message(role="tool", content=content, tool_call_id=call.id, name=call.name))
        return self

    def bash(self, command: str, output: str = "", code: int = 0, *, say: str = "") -> Ours:
        shown = f"{output}\n" if output else ""
        return self.call("bash", {"command": command}, f"{shown}[exit code {code}]", say=say)

    def python(self, code: str, output: str = "", exit_code: int = 0, *, say: str = "") -> Ours:
        return self.call("python", {"code": code}, f"{output}\n[exit code {exit_code}]", say=say)

    def read(self, path: str, text: str) -> Ours:
        lines = text.splitlines()
        shown = "\n".join(f"{number:6}\t{line}" for number, line in enumerate(lines, 1))
        return self.call("read", {"path": path}, f"{shown}\n[lines 1-{len(lines)} of {len(lines)}]")

    def edit(self, path: str, old: str, new: str, *, say: str = "") -> Ours:
        told = f"[edited {path}]" if old else f"[wrote {path}: {len(new.splitlines())} lines]"
        return self.call("edit", {"path": path, "old_text": old, "new_text": new}, told, say=say)

    def submit(self, answer: str = "", *, say: str = "") -> Ours:
        return self.call("submit", {"answer": answer}, "", say=say)

    def limit(self, limit: Flag, value: float) -> Ours:
        self.events.append(LimitReached(at=1, limit=limit, value=value))
        return self

    def retry(self, kind: str, message: str, status: int | None = None, wait_s: float | None = 1.0) -> Ours:
        self.events.append(ModelRetry(at=1, kind=kind, message=message, status=status, wait_s=wait_s))
        return self

    def broke(self, boundary: Outcome, kind: str, message: str) -> Trace:
        self.events.append(ErrorRaised(at=1, boundary=boundary, kind=kind, message=message))
        return trace_of(self.events)

    def scored(self, value: float, *, flags: tuple[Flag, ...] = (), explanation: str = "") -> Trace:
        self.events.append(Scored(at=1, scorer="s", version=1, value=value, flags=flags, explanation=explanation))
        return trace_of(self.events)

    def failed(self, **more: Any) -> Trace:
        return self.scored(0.0, **more)

    def passed(self) -> Trace:
        return self.scored(1.0)


class Theirs:
    """Turns of others: chat with tools (tau-bench), commands (SWE-agent), several agents and a terminal (AutoGen)."""

    def __init__(self, prompt: str, system: str = "") -> None:
        self.events: list[Event] = []
        if system:
            self.said("system", system)
        if prompt:
            self.said("user", prompt)
        self.calls = 0

    def said(self, role: Literal["system", "user", "assistant", "tool"], text: str, name: str = "") -> Theirs:
        self.events.append(Said(at=0, message=Message(role=role, content=text, name=name)))
        return self

    def agent(self, text: str, name: str = "") -> Theirs:
        return self.said("assistant", text, name)

    def user(self, text: str) -> Theirs:
        return self.said("user", text)

    def expert(self, name: str, text: str) -> Theirs:
        return self.said("user", text, name)

    def terminal(self, output: str, code: int = 0) -> Theirs:
        how = "succeeded" if code == 0 else "failed"
        return self.said("user", f"exitcode: {code} (execution {how})\nCode output: {output}", "Computer_terminal")

    def tool(self, name: str, arguments: dict[str, Any], content: str, say: str = "") -> Theirs:
        self.calls += 1
        call = ToolCall(f"c{self.calls}", name, arguments)
        self.events.append(Said(at=0, message=Message(role="assistant", content=say, tool_calls=(call,))))
        self.events.append(ToolCallEvent(at=0, call=call, result=ToolResult(content)))
        return self

    def command(self, command: str, observation: str, say: str = "") -> Theirs:
        return self.tool("bash", {"command": command}, observation, say)

    def mini(self, command: str, output: str, code: int = 0, say: str = "") -> Theirs:
        self.agent(f"{say}\n\n```mswea_bash_command\n{command}\n```")
        return self.user(f"<returncode>{code}</returncode>\n<output>\n{output}\n</output>")

    def scored(self, value: float) -> Trace:
        self.events.append(Scored(at=0, scorer="theirs", version=1, value=value))
        return trace_of(self.events)

    def failed(self) -> Trace:
        return self.scored(0.0)

    def passed(self) -> Trace:
        return self.scored(1.0)

    def ungraded(self) -> Trace:
        return trace_of(self.events)


def question(prompt: str, answer: str, *, stop: StopReason = "stop") -> Ours:
    """A question answered directly."""
    return Ours(prompt, tools=False).say(answer, stop=stop)


WEEK = (
    "`week.py` says on which weekday a date falls. People report that leap years are off by one day.\n\nWork in the "
    "current directory. Keep the names of files and functions that are there already. When you are done, submit; "
    "hidden unit tests then decide."
)
ISSUE = (
    "We're currently solving the following issue within our repository. Here's the issue text:\nISSUE:\n{issue}\n\n"
    "INSTRUCTIONS:\nNow, you're going to solve this issue on your own. Edit all the files you need to and run any "
    "checks or tests that you want."
)
AIRLINE = (
    "# Airline Agent Policy\n\nAs an airline agent, you can help users book, modify, or cancel flight reservations."
)
TEAM = (
    "You are given: (1) a task and advises from your manager with a specific plan and (2) a general task.\n"
    "# General Task\n{task}\n\n# Task and suggestions from manager\n## Plan for solving the task\n1. Find it.\n"
    "2. Verify it."
)
SUM = "What is 17 + 25? End with the answer."
TRACE = 'Traceback (most recent call last):\n  File "run.py", line 3, in <module>\n'
UPDATE = {"reservation_id": "FQ8APE", "flights": ["HAT030"]}
GONE = "Error: flight HAT030 not available on date 2024-05-13"


def airline(ask: str = "Please move me to a later flight.") -> Theirs:
    return Theirs(ask, AIRLINE)


def team(task: str) -> Theirs:
    return Theirs("").agent(TEAM.format(task=task), "Research_Expert")


def search(talk: Theirs, query: str, answer: str) -> Theirs:
    return talk.tool("search", {"query_list": [query]}, answer)


def ran(talk: Theirs, code: str, output: str, exit_code: int = 0, name: str = "Research_Expert") -> Theirs:
    return talk.expert(name, f"Let's run this.\n\n```python\n{code}\n```").terminal(output, exit_code)
