"""What a tool call would carry out, as text: its commands, or its verb and path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agentlab.traces.events import ToolCall

MOST_CHARS = 20_000
_RUNS = (
    "command",
    "cmd",
    "code",
    "script",
    "bash",
    "shell",
    "python",
    "input",
    "query",
    "sql",
    "commands",
    "keystrokes",
    "args",
    "argv",
)
_PATHS = ("path", "file", "file_path", "filename", "filepath", "file_name", "target_file")
_TEXTS = (
    "content",
    "text",
    "new_str",
    "file_text",
    "new",
    "new_string",
    "new_text",
    "replacement",
    "patch",
    "insert_text",
)
_WRITING = re.compile(
    r"write|edit|create|replace|insert|append|save|patch|delete|remove|move|rename|overwrite", re.IGNORECASE
)
_NESTED = re.compile(r"^\s*(?:ba|z|da)?sh\s+-\w*c\s+(['\"])(.*)\1\s*$", re.DOTALL)


def commands(call: ToolCall) -> Iterator[str]:
    """The command lines of a call, in order, comments and quoted messages left out; for a tool that is given a path
    its name and the path.
    """
    given: dict[str, Any] = call.arguments
    texts = [_joined(given[name]) for name in _RUNS if name in given]
    for text in texts:
        inner = _NESTED.match(text)
        yield _plain((inner.group(2) if inner else text)[:MOST_CHARS])
    path = next((given[name] for name in _PATHS if isinstance(given.get(name), str)), "")
    if path:
        verb = given["command"] if isinstance(given.get("command"), str) and " " not in given["command"] else call.name
        yield f"{verb} {path}"[:MOST_CHARS]
    url = given.get("url")
    if isinstance(url, str):
        yield f"open {url}"[:MOST_CHARS]


def writes(call: ToolCall) -> tuple[str, str]:
    """Path and text of a call that writes to a file; two empty texts where it is none."""
    given = call.arguments
    path = next((given[name] for name in _PATHS if isinstance(given.get(name), str)), "")
    verb = given["command"] if isinstance(given.get("command"), str) else ""
    if not path or not _WRITING.search(f"{call.name} {verb}") or verb == "view":
        return "", ""
    text = next((given[name] for name in _TEXTS if isinstance(given.get(name), str)), "")
    return path, text[:MOST_CHARS]


def _joined(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(item for item in value if isinstance(item, str))
    return ""


_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#(?!!)[^\n]*$")
_SPOKEN = re.compile(r"""((?:\becho|\bprintf|\s-m|--message[ =])\s*)("[^"$`]*"|'[^']*')""")


def _plain(text: str) -> str:
    """Without comments, and without what is only said: `echo "do not use sudo"` uses none."""
    return _SPOKEN.sub(r"\1''", _COMMENT.sub("", text))
