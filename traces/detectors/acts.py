"""What an agent did, in one form: tool calls of any contract, SWE-agent's commands, code that a terminal ran for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from agentlab.traces.detectors.shell import NOTHING, Effect, effect_of, files_written
from agentlab.traces.events import ToolCall, ToolResult
from agentlab.traces.steps import Step

HEAD, TAIL = 3000, 3000
"""Characters of an output that are read, from its beginning and from its end: errors stand in either."""

SHELLS = frozenset(
    {
        "bash",
        "shell",
        "sh",
        "terminal",
        "execute_bash",
        "run_command",
        "execute_command",
        "cmd",
        "run_shell",
        "exec",
        "action",
    }
)
INTERPRETERS = frozenset(
    {"python", "ipython", "execute_python", "run_python", "python_interpreter", "code_interpreter", "jupyter"}
)
EDITORS = frozenset(
    {
        "edit", "write", "write_file", "create", "create_file", "edit_file", "str_replace", "insert", "append",
        "apply_patch", "str_replace_editor", "str_replace_based_edit_tool", "replace_in_file", "multi_edit",
        "delete_file", "replace",
    }
)  # fmt: skip
SUBMITTERS = frozenset(
    {"submit", "finish", "submit_answer", "complete_task", "attempt_completion", "done", "final_answer"}
)
VIEWS = frozenset({"view", "undo_edit"})

_EXIT = re.compile(r"(?:\[exit code |exitcode: |<returncode>|exit status:? |exit code:? )(-?\d+)")
_OPENED = re.compile(r"\[File: (\S+) \(")
_ERROR_LINE = re.compile(
    r"^(?:\[?(?:fatal |usage )?errors?\]?:.*|Traceback \(most recent call last\).*|\w*(?:Error|Exception): .*"
    r"|.*command not found.*"
    r"|.*No such file or directory.*|\[(?:there is no tool|the arguments|stopped after|the tool did not finish"
    r"|no such file)[^\n]*"
    r"|\{\"(?:error|detail)\": ?\".*)$",
    re.MULTILINE | re.IGNORECASE,
)
_RAISED = re.compile(r"^(?:[\w.]*(?:Error|Exception|Interrupt)\b.*)$", re.MULTILINE)
_CODE = re.compile(r"```(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)```", re.DOTALL)
_TERMINAL = re.compile(r"terminal|executor|interpreter|environment|runtime", re.IGNORECASE)
_OBSERVED = re.compile(r"\s*(?:exitcode: |<returncode>|<output>|\[File: |Observation:|OBSERVATION:)")
_NO_CODE = "There is no code from the last"


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the agent did to its world, and what came back."""

    seq: int
    """The event of the answer, which is where a label goes."""
    place: int
    """Its place among the trace's steps."""
    tool: str
    command: str = ""
    """The command line or the program, where it is one."""
    key: str = ""
    """Tool and arguments in one text: two acts with the same one ask for the same."""
    effect: Effect = NOTHING
    output: str = ""
    """What came back; the middle of a long one is left out."""
    call: ToolCall | None = None
    refused: str = ""
    """`unknown_tool`, `bad_arguments`, `timeout` or `failed`, where the runner says so."""
    exit_code: int | None = None
    error: str = ""
    """The line that says what went wrong; empty where nothing did."""
    partial: bool = False
    """Whether it failed and yet showed a good deal: what was wanted may be there."""

    @property
    def edits(self) -> tuple[str, ...]:
        return self.effect.edits

    @property
    def runs(self) -> bool:
        return self.effect.runs


def acts_of(steps: tuple[Step, ...]) -> Iterator[Act]:
    """The acts among steps, in order."""
    opened = ""
    for place, step in enumerate(steps):
        act = _called(step, place, opened) if step.call is not None else _observed(steps, place)
        if act is None:
            continue
        shown = _OPENED.search(act.output) if "[File: " in act.output else None
        opened = shown[1] if shown else opened
        yield act


def _called(step: Step, place: int, opened: str) -> Act:
    call, result = step.call, step.result or ToolResult(step.text)
    assert call is not None
    output = shortened(result.content)
    command = command_of(call)
    effect = _effect(call, command)
    if opened and "" in effect.edits:
        effect = msgspec.structs.replace(effect, edits=tuple(path or opened for path in effect.edits))
    code = _exit_code(output)
    refused = result.error or _refusal(effect, output)
    error = _error(output, refused, code, command)
    return Act(
        seq=step.seq,
        place=place,
        tool=call.name,
        command=command,
        key=f"{call.name}\x00{command or _arguments(call)}",
        effect=effect,
        output=output,
        call=call,
        refused=refused,
        exit_code=code,
        error=error,
        partial=bool(error and command) and _shows_much(output),
    )


def _observed(steps: tuple[Step, ...], place: int) -> Act | None:
    """What a terminal answered to code in the turn before; None where the step is no such answer."""
    step = steps[place]
    said_by_terminal = step.role == "tool" or (step.role == "user" and bool(_TERMINAL.search(step.agent)))
    if place == 0 or not (said_by_terminal or (step.role == "user" and _OBSERVED.match(step.text))):
        return None
    if _NO_CODE in step.text[:200]:
        return None
    before = next((other for other in reversed(steps[:place]) if other.role != "system"), None)
    blocks = list(_CODE.finditer(before.text[-20_000:])) if before is not None else []
    command = "\n".join(block["code"] for block in blocks)
    script = any(block["language"] in ("sh", "bash", "shell", "mswea_bash_command", "") for block in blocks)
    output = shortened(step.text)
    code = _exit_code(output)
    effect = effect_of(command) if script else Effect(edits=files_written(command), runs=bool(command))
    error = _error(output, "", code, command)
    return Act(
        seq=step.seq,
        place=place,
        tool="terminal",
        command=command,
        key=f"terminal\x00{command}" if command else "",
        effect=effect,
        output=output,
        exit_code=code,
        error=error,
        partial=bool(error and command) and _shows_much(output),
    )


def command_of(call: ToolCall) -> str:
    """The command line or program of a call; empty where it carries none."""
    given = call.arguments
    for name in ("command", "code", "cmd", "script", "action", "input"):
        value = given.get(name)
        if isinstance(value, str) and (name in ("command", "code", "cmd", "script") or call.name in SHELLS):
            return "" if call.name in EDITORS or value in VIEWS else value
        if isinstance(value, list) and name in ("command", "cmd"):
            return " ".join(str(word) for word in value)
    return ""


def _effect(call: ToolCall, command: str) -> Effect:
    name = call.name
    if name in SUBMITTERS:
        return Effect(submits=True)
    if name in INTERPRETERS:
        return Effect(edits=files_written(command), runs=bool(command))
    if command:
        return effect_of(command)
    if name in EDITORS and call.arguments.get("command") not in VIEWS:
        path = str(
            call.arguments.get("path") or call.arguments.get("file_path") or call.arguments.get("filename") or ""
        )
        whole = not call.arguments.get("old_text") and not call.arguments.get("old_str")
        if name == "delete_file":
            return Effect(removes=(path,))
        return Effect(edits=(path,), new=(path,) if whole else ())
    return NOTHING


def _arguments(call: ToolCall) -> str:
    return call.raw or msgspec.json.encode(call.arguments, enc_hook=repr, order="sorted").decode()


_EDIT_REFUSED = re.compile(
    r"Your proposed edit has introduced new syntax error|No replacement was performed|Text not found"
    r"|[Nn]o (?:match|occurrence)s? (?:found )?(?:for|of) "
)


def _refusal(effect: Effect, output: str) -> str:
    """`failed` where an editor of another contract says that it changed nothing."""
    return "failed" if effect.edits and _EDIT_REFUSED.search(output[:600]) else ""


def _exit_code(output: str) -> int | None:
    if "exit" not in output and "<returncode>" not in output:
        return None
    found = _EXIT.search(output, max(0, len(output) - 200)) or _EXIT.match(output)
    return int(found[1]) if found else None


def _error(output: str, refused: str, code: int | None, command: str) -> str:
    """The line that tells of a failure; empty where the call went well."""
    if refused:
        return _line(output) or refused
    if code is not None:
        if code == 0:
            return ""
        # A search that finds nothing ends with 1, and says nothing: no failure.
        if code == 1 and _quiet(output) and re.search(r"\b(?:grep|rg|diff|cmp|find|test|which)\b|\[", command):
            return ""
        return _told(output) or _last_line(output) or f"exit code {code}"
    if command:
        raised = "Traceback (most recent call last)" in output
        return _told(output) if raised or output.lstrip()[:9].lower().startswith("error:") else ""
    return _line(output) if _ERROR_LINE.match(output.lstrip()[:300]) else ""


def _quiet(output: str) -> bool:
    return len(re.sub(r"\[exit code \d+\]|exitcode: .*|<[^>]*>|Code output:", "", output).strip()) == 0


MUCH = 300
"""Characters beside a traceback from which an output shows something."""
_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\).*?\n(?=\S+(?:Error|Exception|Interrupt|Exit)\b)[^\n]*\n?", re.DOTALL
)
_LOG = re.compile(
    r"^(?:\d{4}-\d\d-\d\d |WARNING|INFO|E0000|W0000|I0000|To enable|\s+from |\[notice\]).*$", re.MULTILINE
)


def _shows_much(output: str) -> bool:
    return len(_LOG.sub("", _TRACEBACK.sub("", output)).strip()) >= MUCH


def _told(output: str) -> str:
    """The last line that names an exception, else the first that looks like an error's."""
    raised = _RAISED.findall(output)
    if raised:
        return str(raised[-1])[:300]
    found = _ERROR_LINE.search(output)
    return found[0].strip()[:300] if found else ""


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip() and not _EXIT.search(line)]
    return lines[-1][:300] if lines else ""


def _line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def shortened(text: str) -> str:
    """`text` with the middle of a long one left out."""
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n[...]\n{text[-TAIL:]}"


def arguments_text(arguments: dict[str, Any]) -> str:
    """The texts of a call's arguments, for those who look for words in them."""
    return "\n".join(value for value in arguments.values() if isinstance(value, str))
