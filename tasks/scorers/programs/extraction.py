"""From a model's answer to a program: the code in it, whole functions and bare bodies alike. Nothing is run here."""

from __future__ import annotations

import ast
import builtins
import itertools
import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_ANSWER = 200_000
_FENCE = re.compile(r"[ \t\u200b]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?(`{3,}|~{3,})[ \t]*([\w+#.-]*)(.*)")
"""A line that opens or closes a block, also as an item of a list."""
_GLUED_FENCE = re.compile(r"[^`]*[^`\s][ \t]*(`{3,})[ \t]*((?:python|py)[\d.]*)([ \t]*)", re.IGNORECASE)
"""One at the end of a sentence: "Here it is:```python"."""
_PYTHON = re.compile(r"(?:i?python|py)?[\d.]*", re.IGNORECASE)
_CODE_STARTS = re.compile(r"^(?:(?:async def|def|class|import|from)\b|@\w)", re.MULTILINE)
_MAX_STARTS = 20
_MAX_CUTS = 40
"""Times that a text is shortened to the line before its fault."""
_MAX_BLOCKS = 20
_MAX_READ = 2 * MAX_ANSWER
"""Characters that are parsed for one answer, all attempts together."""

_Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Extracted:
    """Code to grade; `code` is empty where the answer holds none that parses."""

    code: str
    complete: bool
    """Every name that was asked for is defined at the top level of `code`."""


class _Reader:
    """Parses texts, each once, until `_MAX_READ` characters were read; after that nothing parses."""

    def __init__(self) -> None:
        self._left = _MAX_READ
        self._parsed: dict[str, ast.Module | int] = {}

    def tree(self, text: str) -> ast.Module | None:
        """The text's tree, also where it holds a `return` outside a function."""
        parsed = self._parse(text)
        return None if isinstance(parsed, int) else parsed

    def fault(self, text: str) -> int | None:
        """The line that keeps a text from being a program, None where it is one."""
        parsed = self._parse(text)
        return parsed if isinstance(parsed, int) else _stray_statement(parsed)

    def _parse(self, text: str) -> ast.Module | int:
        """The tree, or the line of the first fault."""
        if text not in self._parsed:
            self._left -= len(text)
            self._parsed[text] = _parse(text) if self._left >= 0 else 1
        return self._parsed[text]

    def program(self, text: str) -> str | None:
        """`text`, its common indentation removed where it needs that to parse; None where it does not parse."""
        return next((code for code in (text, textwrap.dedent(text)) if self.tree(code) is not None), None)

    def defines(self, code: str, names: Sequence[str], *, itself: bool = False) -> bool:
        """Whether `code` defines all names at its top level; with `itself` no import and no stub counts."""
        tree = self.tree(code)
        if tree is None or not names:
            return False
        if itself:
            tree = ast.Module([node for node in tree.body if not _only_names(node)], [])
        return set(names) <= set(_top_level(tree))

    def has_statements(self, code: str) -> bool:
        tree = self.tree(code)
        return tree is not None and any(not isinstance(node, ast.Expr) for node in tree.body)

    def with_helpers(self, code: str, others: Sequence[str]) -> str:
        """`code` behind those of `others` (the last first) that define what it uses and does not define itself."""
        chosen: list[str] = [code]
        missing = self._missing(code)
        for other in others:
            if missing and other not in chosen and (tree := self.tree(other)) is not None:
                given = set(_top_level(tree))
                if missing & given or "*" in given:
                    chosen.append(other)
                    missing = (missing | self._missing(other)) - given
        if len(chosen) == 1:
            return code
        joined = "\n\n".join([*(other for other in reversed(others) if other in chosen[1:]), code])
        return joined if self.tree(joined) is not None else code

    def _missing(self, code: str) -> set[str]:
        used: set[str] = set()
        bound = set(dir(builtins))
        for node in ast.walk(self.tree(code) or ast.Module([], [])):
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
            elif isinstance(node, _Definition):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, ast.alias):
                bound.add(node.asname or node.name.partition(".")[0])
            elif isinstance(node, ast.ExceptHandler) and node.name is not None:
                bound.add(node.name)
        return used - bound


def extract_program(answer: str, names: Sequence[str], prompt: str = "") -> Extracted:
    """The program in `answer` that should define `names`.

    A text that as a whole is such a program is taken whole, fences in its strings and all. Of several fenced blocks
    the last that defines all names counts (one that only imports them, or shows a signature, where no other does),
    behind the blocks that define what it uses and lacks; else all blocks that parse, together. Without a fence the
    longest parts that read as code count. `prompt` is a signature that a model may have been asked to continue: an
    answer that is only the body is put behind it.
    """
    answer = answer.removeprefix("\ufeff")[:MAX_ANSWER].replace("\r\n", "\n").replace("\r", "\n")
    reader = _Reader()
    if reader.defines(answer, names):
        return Extracted(answer, complete=True)
    readings: list[_Reading] = []
    for strict in (True, False):
        reading = _Reading.of(reader, answer, names, strict=strict)
        if reading.complete is not None:
            return Extracted(reading.complete, complete=True)
        readings.append(reading)
    for text in dict.fromkeys(text for reading in readings for text in reading.texts):
        for code in _continuations(reader, prompt, text):
            if reader.defines(code, names) and reader.fault(code) is None:
                return Extracted(code, complete=True)
    return Extracted(next((reading.together for reading in readings if reading.together), ""), complete=False)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What an answer holds, its fences read strictly, or so that whatever stands behind a closing one is let pass."""

    texts: list[str]
    together: str
    """All that parses, but for mere expressions."""
    complete: str | None
    """A program that defines all names."""

    @classmethod
    def of(cls, reader: _Reader, answer: str, names: Sequence[str], *, strict: bool) -> _Reading:
        blocks, widest = _blocks(answer, strict=strict)
        texts = [*reversed(blocks)] if blocks else [*_without_fence(reader, answer)]
        parsing = [code for text in texts if (code := reader.program(text)) is not None]
        together = "\n\n".join(reversed([code for code in parsing if reader.has_statements(code)]))
        for itself in (True, False):
            for code in parsing:
                if reader.defines(code, names, itself=itself):
                    return cls(texts, together, reader.with_helpers(code, parsing))
        return cls(texts, together, next((code for code in (together, widest) if reader.defines(code, names)), None))


def top_level_names(source: str) -> tuple[str, ...]:
    """Functions, classes and variables that `source` defines at its top level, in order. Raises SyntaxError."""
    return tuple(_top_level(_tree(source)))


def _top_level(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, _Definition):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return names


def _only_names(node: ast.stmt) -> bool:
    """Whether a statement gives its name no content: an import, or a function that is a signature and no more."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return all(
            isinstance(inner, ast.Pass) or (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
            for inner in node.body
        )
    return isinstance(node, ast.Import | ast.ImportFrom)


def import_statements(source: str) -> tuple[str, ...]:
    """The import statements at the top level of `source`, one a line. Raises SyntaxError."""
    return tuple(ast.unparse(node) for node in _tree(source).body if isinstance(node, ast.Import | ast.ImportFrom))


def without_function(source: str, name: str) -> str:
    """`source` (a prompt that ends in a signature and docstring) without the function `name`: what stands around it."""
    tree = _tree(f"{source}\n    pass\n")
    tree.body = [node for node in tree.body if not (isinstance(node, _Definition) and node.name == name)]
    return ast.unparse(tree)


def _blocks(answer: str, *, strict: bool) -> tuple[list[str], str]:
    """The last 20 fenced Python blocks, in order, and all that lies between the first and the last fence. Unless
    `strict`, a line that begins with the fence of an open block closes it, whatever follows ("```<|im_end|>").
    """
    blocks: list[str] = []
    lines = answer.split("\n")
    fences: list[int] = []
    opened: tuple[str, str, int] | None = None
    for number, line in enumerate(lines):
        found = _FENCE.match(line) or (_GLUED_FENCE.fullmatch(line) if opened is None else None)
        if found is None:
            continue
        fence, language, rest = found.groups()
        if opened is None:
            if "`" not in rest:
                opened = (fence, language, number)
                fences.append(number)
        elif fence.startswith(opened[0]) and not (strict and (language or rest.strip())):
            if _PYTHON.fullmatch(opened[1]):
                blocks.append("\n".join(lines[opened[2] + 1 : number]) + "\n")
            opened = None
            fences.append(number)
    if opened is not None and _PYTHON.fullmatch(opened[1]):
        blocks.append("\n".join(lines[opened[2] + 1 :]))
    widest = "\n".join(lines[fences[0] + 1 : fences[-1]]) if len(fences) > 1 else ""
    return blocks[-_MAX_BLOCKS:], widest


def _without_fence(reader: _Reader, answer: str) -> Iterator[str]:
    """The whole answer, and the longest stretches of lines from one that starts like code to where it stops parsing."""
    yield answer
    end = 0
    for start in itertools.islice(_CODE_STARTS.finditer(answer), _MAX_STARTS):
        if start.start() >= end:
            part = _longest_parsing(reader, "", answer[start.start() :].split("\n"))
            if part is not None:
                yield part
                end = start.start() + len(part)


def _continuations(reader: _Reader, prompt: str, text: str) -> Iterator[str]:
    """Ways to read a text as the body of the function whose signature ends `prompt`."""
    if not prompt or _CODE_STARTS.search(text):
        return
    start = prompt if prompt.endswith("\n") else prompt + "\n"
    yield start + text
    yield start + "    " + text.lstrip()
    yield start + textwrap.indent(textwrap.dedent(text), "    ")
    if (body := _longest_parsing(reader, start, text.split("\n"))) is not None:
        yield body


def _longest_parsing(reader: _Reader, head: str, lines: list[str]) -> str | None:
    end = len(lines)
    for _ in range(_MAX_CUTS):
        text = head + "\n".join(lines[:end]) + "\n"
        fault = reader.fault(text)
        if fault is None:
            return text
        end = min(end, max(fault - head.count("\n"), 1)) - 1
        if end <= 0:
            return None
    return None


def _tree(source: str) -> ast.Module:
    with warnings.catch_warnings():  # on escapes that a model's or a benchmark's strings get wrong
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _parse(text: str) -> ast.Module | int:
    try:
        return _tree(text)
    except SyntaxError as error:
        return error.lineno or 1
    except (ValueError, MemoryError, RecursionError):
        return 1


def _stray_statement(tree: ast.Module) -> int | None:
    """The first line with a `return`, `yield` or `await` outside a function or a `break` or `continue` outside a loop.

    Such a text parses but does not compile. Compiling it would tell more, at a cost that is quadratic in its length.
    """
    lines: list[int] = []
    waiting: list[tuple[ast.AST, bool, bool]] = [(tree, False, False)]
    while waiting:
        node, in_function, in_loop = waiting.pop()
        if not in_function and isinstance(node, ast.Return | ast.Yield | ast.YieldFrom | ast.Await):
            lines.append(node.lineno)
        if not in_loop and isinstance(node, ast.Break | ast.Continue):
            lines.append(node.lineno)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            in_function, in_loop = True, False
        elif isinstance(node, ast.ClassDef):
            in_function, in_loop = False, False
        elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
            in_loop = True
        waiting += [(child, in_function, in_loop) for child in ast.iter_child_nodes(node)]
    return min(lines, default=None)
