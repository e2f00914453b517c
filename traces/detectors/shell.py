"""What a command line does, as far as its words tell: which files it changes, whether it tests or runs the work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec

MAX_COMMAND = 8192
"""Characters of a command that are read; what lies beyond is almost always the text of a file."""

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(?P<end>\w+)\1")
# Runs of blanks and of signs say nothing, and would make each search start anew at each of them.
_BLANKS = re.compile(r"[ \t\r\f\v]+")
_BREAKS = re.compile(r"([\n;&|(])[\s;&|(]*(?=[\n;&|(])")
_QUOTED = re.compile(r"'[^'\n]*'|\"(?:[^\"\\\n]|\\.)*\"")
_PATH = r"(?P<path>[\w@%+=:,./~$-]+)"
_REDIRECT = re.compile(rf"(?<![<>&\d-])(?:[12]?>>?|&>>?)\s*{_PATH}")
# Words of bounded length: a search that starts at each of many signs must not read on to the end from each.
_START = r"(?:^|[\n;&|(]|\b(?:do|then|sudo|xargs|time|env|nohup)\b|\s-exec(?:dir)?\b)\s?(?:\w{1,60}=\S{0,200}\s){0,9}"
_ANY = r"\S{0,200}"
_PREFIX = rf"(?:{_ANY}/)?"
_IN_PLACE = re.compile(
    rf"{_START}(?:sed\s+(?:-\w+\s+)*(?:-\w*i|--in-place)|perl\s+-\w*p?i|ed\s|ex\s|awk\s+-i\s*inplace)[^\n;&|]*"
)
_CHANGES = re.compile(
    rf"{_START}(?:(?:tee|mv|cp|truncate|install|dd|2to3|black|autopep8|isort|gofmt\s+-w|cargo\s+fmt|ruff\s+format)\b"
    r"|(?:prettier|ruff)\s[^\n;&|]*--(?:write|fix)\b)[^\n;&|]*"
)
# What these change stands in another file, or in the history.
_PATCHES = re.compile(rf"{_START}(?:patch|apply_patch|git\s+(?:apply|am|cherry-pick|revert|stash\s+(?:pop|apply)))\b")
_SCRIPT = re.compile(r"[sy]([/,#@+]).*\1")
_REMOVES = re.compile(rf"{_START}(?:git\s+)?(?P<rest>(?:rm|unlink|shred)\s[^\n;&|]*)")
_MOVES = re.compile(rf"{_START}(?:git\s+)?(?P<rest>mv\s[^\n;&|]*)")
_WORD = re.compile(r"[\w@%+=:,./~$*?-]+")
_TESTS = re.compile(
    rf"{_START}(?:timeout\s+\S+\s+)?(?:(?:uv|poetry|pipenv|hatch|bundle)\s+(?:run|exec)\s+)?"
    rf"(?:{_PREFIX}(?:pytest|py\.test|tox|nox|nosetests|jest|mocha|vitest|rspec|phpunit|ctest)\b"
    rf"|{_PREFIX}python[\d.]*\s+(?:-\w\s+)*-m\s+(?:pytest|unittest|doctest|nose)\b"
    rf"|{_PREFIX}python[\d.]*\s+{_ANY}(?:manage\.py\s+test|runtests\S*\.py|setup\.py\s+test|(?:^|/)?test\w*\.py"
    r"|\w+_test\.py)"
    r"|(?:npm|yarn|pnpm|bun)\s+(?:run\s+)?test|go\s+test|cargo\s+(?:test|nextest)|make\s+(?:\w+\s+)?(?:test|check)"
    r"|(?:hatch|rake|mix|sbt|swift|bazel|deno)\s+test|node\s+--test|(?:\./)?manage\.py\s+test"
    rf"|(?:mvn|gradle|\./gradlew)\s+(?:\S+\s+){{0,20}}?(?:test|check|verify)|dotnet\s+test"
    rf"|(?:bash\s+|sh\s+|\./){_ANY}test\S*)"
)
_RUNS = re.compile(
    rf"{_START}(?:timeout\s+\S+\s+)?(?:(?:uv|poetry|pipenv)\s+run\s+)?"
    rf"(?:{_PREFIX}(?:python[\d.]*|ipython|node|ruby|perl|php|Rscript|julia|lua|deno|java|bash|sh)\s+\S"
    r"|\./\S|go\s+(?:run|build|vet)|cargo\s+(?:run|build|check|clippy)|npm\s+(?:start|run)|make\b|gcc\s|g\+\+\s|javac\s|tsc\b|mypy\b|ruff\b|pyflakes\b)"
)
_SUBMITS = re.compile(r"^\s*submit\b|COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT|^\s*exit_forfeit\b")
# The commands of SWE-agent's editor, which stand where a shell's would.
_EDITOR = re.compile(
    r"^\s*(?P<verb>create|edit|insert|append|str_replace|open|goto|scroll_down|scroll_up)\b[ \t]*(?P<rest>[^\n]*)"
)
_RANGE = re.compile(r"^\d+(?::\d+)?$")
_WRITES = re.compile(
    r"open\([^)\n]{0,200},\s*(?:mode\s*=\s*)?['\"][rb]?[wax]|['\"]r\+|\.write_(?:text|bytes)\(|\bshutil\.(?:copy|move)"
    r"|os\.(?:rename|replace|remove|unlink)\("
    r"|fileinput\.(?:input|FileInput)|\.to_(?:csv|json|excel|parquet)\(|json\.dump\(|writeFile"
)
_WRITTEN = re.compile(
    r"""open\(\s*['"](?P<a>[^'"\n]{1,200})['"]\s*,\s*(?:mode\s*=\s*)?['"][rb]?[wax+]"""
    r"""|Path\(\s*['"](?P<b>[^'"\n]{1,200})['"]\s*\)\.write_"""
)
_NOWHERE = re.compile(r"^/dev/|^&|^\d$|^/proc/")
INFO = frozenset({"open", "goto", "scroll_down", "scroll_up"})


class Effect(msgspec.Struct, frozen=True):
    """What a command does."""

    edits: tuple[str, ...] = ()
    """Files that it writes or changes; an empty name where it changes something that cannot be told."""
    removes: tuple[str, ...] = ()
    runs: bool = False
    """Whether it carries something out: a program, a test, a check of the code."""
    tests: bool = False
    submits: bool = False
    new: tuple[str, ...] = ()
    """Of `edits`, those that it writes as a whole."""


NOTHING = Effect()


@lru_cache(maxsize=512)
def effect_of(command: str) -> Effect:
    """Read a command line. Guesses by words: quoted text and the bodies of here-documents are no commands."""
    command = command[:MAX_COMMAND]
    editor = _EDITOR.match(command)
    if editor is not None and not re.match(r"\s*(?:open|edit)\s+-", command):
        return _editor(editor["verb"], editor["rest"])
    command = _BLANKS.sub(" ", _BREAKS.sub(r"\1", command))
    plain = _QUOTED.sub(_without_quotes, "\n".join(_without_bodies(command.split("\n"))))
    edits = [found["path"] for found in _REDIRECT.finditer(plain)]
    new = [path for path in edits if ">>" not in plain]
    for found in (*_IN_PLACE.finditer(plain), *_CHANGES.finditer(plain)):
        edits += [_last_file(found[0])]
    if _PATCHES.search(plain):
        edits.append("")
    if _WRITES.search(command):
        edits.extend(files_written(command))
    removes = [word for found in _REMOVES.finditer(plain) for word in _arguments(found["rest"])]
    removes += [word for found in _MOVES.finditer(plain) for word in _arguments(found["rest"])[:-1]]
    tests = _TESTS.search(plain) is not None
    return Effect(
        edits=tuple(dict.fromkeys(path for path in edits if not _NOWHERE.match(path))),
        removes=tuple(removes),
        runs=tests or _RUNS.search(plain) is not None,
        tests=tests,
        submits=_SUBMITS.search(command) is not None,
        new=tuple(dict.fromkeys(new)),
    )


def _without_bodies(lines: list[str]) -> Iterator[str]:
    """The lines of a command without the bodies of its here-documents, each line read once."""
    last = {line.strip(): place for place, line in enumerate(lines)}
    body = ""
    for place, line in enumerate(lines):
        if body:
            body = "" if line.strip() == body else body
            continue
        for found in _HEREDOC.finditer(line):
            if last.get(found["end"], 0) > place:
                body = found["end"]
                line = f"{line[: found.start()]}<<{line[found.end() :]}"
                break
        yield line


def files_written(code: str) -> tuple[str, ...]:
    """Files that a program writes, by name where it names them; one empty name where it writes and does not."""
    if _WRITES.search(code) is None:
        return ()
    named = tuple(dict.fromkeys(found["a"] or found["b"] for found in _WRITTEN.finditer(code)))
    return named or ("",)


def _editor(verb: str, rest: str) -> Effect:
    words = rest.split()
    first = words[0].strip("\"'") if words else ""
    if verb in INFO:
        return NOTHING
    if verb == "create":
        return Effect(edits=(first,), new=(first,))
    return Effect(edits=(first if "." in first and not _RANGE.match(first) and "/" in first else "",))


def _without_quotes(found: re.Match[str]) -> str:
    """A quoted file name stays one; a quoted text, which may hold anything, becomes a blank one."""
    inner = found[0][1:-1]
    return inner if re.fullmatch(r"[\w@%+=:,./~-]+", inner) else "''"


def _arguments(words: str) -> list[str]:
    """The words behind a command's name that are no options."""
    return [word for word in _WORD.findall(words)[1:] if word[0] != "-"]


def _last_file(words: str) -> str:
    """The last word of a command that looks like a file."""
    found = [word for word in _WORD.findall(words) if word != "." and re.search(r"[./$*]", word)]
    last = found[-1] if found else ""
    return "" if _SCRIPT.match(last) else last.removeprefix("of=")  # `xargs sed -i s/a/b/` names no file
