"""The runs of a directory: a list that is kept in `index.db` only to be quick, references to runs, and the trash.

`index.db` can be deleted at any time. It is rebuilt where it is missing, damaged or of another version, and an entry
is read again when its `run.json` has changed.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from agentlab.traces.document import DOCUMENT, read_document
from agentlab.traces.errors import NotARun, RunLocked, StoreError, UnknownRun
from agentlab.traces.lock import holder

INDEX = "index.db"
TRASH = ".trash"
_VERSION = 1


class RunEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One run in a list. What `run.json` does not say is empty."""

    id: str
    path: Path
    name: str = ""
    tags: tuple[str, ...] = ()
    model: str = ""
    status: str = ""
    created_at: float = 0.0
    """Seconds since the epoch."""
    tasks: tuple[dict[str, Any], ...] = ()
    """The summary's tasks, as `run --json` prints them."""
    pid: int | None = None
    """The process that writes it now; None: none does."""


class Catalogue:
    """The runs under `runs_dir`. Works without its index too: a directory that cannot be written to is scanned."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.damaged: tuple[str, ...] = ()
        """Directories that the last call of `runs` left out, because their `run.json` cannot be read."""

    def runs(self) -> list[RunEntry]:
        """All runs, the latest first. Damaged ones are left out, and named in `damaged`."""
        found = {path.name: (path, mtime) for path, mtime in _run_directories(self.runs_dir)}
        known = self._load()
        entries: list[RunEntry] = []
        fresh: dict[str, tuple[int, dict[str, Any]]] = {}
        for name, (path, mtime) in found.items():
            if name in known and known[name][0] == mtime:
                facts = known[name][1]
            else:
                try:
                    facts = _facts(read_document(path))
                except NotARun:
                    continue
            fresh[name] = (mtime, facts)
            entries.append(msgspec.convert({**facts, "id": name, "path": path, "pid": holder(path)}, RunEntry))
        self.damaged = tuple(name for name in found if name not in fresh)
        if fresh != known:
            self._save(fresh)
        return sorted(entries, key=lambda entry: (entry.created_at, entry.id), reverse=True)

    def _load(self) -> dict[str, tuple[int, dict[str, Any]]]:
        path = self.runs_dir / INDEX
        if not path.is_file():
            return {}
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                    return {}
                rows = connection.execute("SELECT id, mtime_ns, facts FROM runs").fetchall()
                return {name: (mtime, json.loads(facts)) for name, mtime, facts in rows}
        except (sqlite3.Error, ValueError):
            return {}  # damaged: rebuilt by what follows

    def _save(self, entries: dict[str, tuple[int, dict[str, Any]]]) -> None:
        """Replace the index by a new file. Where that is impossible the list is as good without it."""
        partial = self.runs_dir / f".{INDEX}.{time.monotonic_ns()}.partial"
        try:
            with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = OFF")
                connection.execute("BEGIN")
                connection.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, mtime_ns INTEGER, facts TEXT)")
                rows = ((name, mtime, json.dumps(facts)) for name, (mtime, facts) in entries.items())
                connection.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                connection.execute("COMMIT")
            partial.replace(self.runs_dir / INDEX)
        except (sqlite3.Error, OSError):
            with contextlib.suppress(OSError):  # a read-only disk refuses to remove even what is not there
                partial.unlink()


def resolve_run(ref: str, runs_dir: Path) -> Path:
    """The directory of a run given as an id, a unique prefix of one, a path, or `latest`.

    Raises `UnknownRun` with what it could mean, and `NotARun` for a path that holds none.
    """
    ids = [path.name for path, _ in _run_directories(runs_dir)]
    if ref in ids:
        return runs_dir / ref
    if ref == "latest":
        runs = Catalogue(runs_dir).runs()
        if not runs:
            raise UnknownRun(f"there are no runs in {runs_dir}; another place is named by --runs-dir")
        return runs[0].path
    if "/" in ref or Path(ref).is_dir():
        path = Path(ref)
        if not (path / DOCUMENT).is_file():
            raise NotARun(path)
        return path
    matches = sorted(name for name in ids if ref and name.startswith(ref))
    if len(matches) == 1:
        return runs_dir / matches[0]
    if matches:
        shown = ", ".join(matches[:5]) + (", ..." if len(matches) > 5 else "")
        raise UnknownRun(f"{ref} is the beginning of {len(matches)} runs: {shown}", tuple(matches))
    near = tuple(difflib.get_close_matches(ref, ids, n=3, cutoff=0.4))
    hint = f"did you mean {', '.join(near)}?" if near else "`agentlab results list` shows those that are"
    raise UnknownRun(f"there is no run {ref} in {runs_dir}; {hint}", near)


def delete_run(run_dir: Path) -> Path:
    """Move a run to the trash beside it and return where it is now. Raises `RunLocked` for a run that is alive,
    `NotARun`.
    """
    if not (run_dir / DOCUMENT).is_file():
        raise NotARun(run_dir)
    pid = holder(run_dir)
    if pid is not None:
        raise RunLocked(run_dir, pid)
    trash = run_dir.resolve().parent / TRASH
    target = trash / run_dir.name
    if target.exists():
        target = trash / f"{run_dir.name}~{time.time_ns()}"
    return _move(run_dir, target)


def trashed(runs_dir: Path) -> list[str]:
    """The names of what is in the trash."""
    return sorted(path.name for path, _ in _run_directories(runs_dir / TRASH))


def restore_run(ref: str, runs_dir: Path) -> Path:
    """Move a run (an id, a unique prefix, or `latest`: the newest run) back out of the trash. Raises `UnknownRun`, and
    `StoreError` where the id is taken.
    """
    names = trashed(runs_dir)
    if ref == "latest":
        ref = next((entry.id for entry in Catalogue(runs_dir / TRASH).runs()), ref)
    matches = [ref] if ref in names else [name for name in names if ref and name.startswith(ref)]
    if len(matches) != 1:
        choices = ", ".join(matches or names) or "it is empty"
        reason = f"the beginning of {len(matches)} runs" if matches else "no run"
        raise UnknownRun(f"{ref} is {reason} in the trash: {choices}", tuple(matches or names))
    target = runs_dir / matches[0].partition("~")[0]
    if target.exists():
        raise StoreError(f"{target} exists: it cannot be restored over another run")
    return _move(runs_dir / TRASH / matches[0], target)


def _move(source: Path, target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)
    except OSError as error:
        raise StoreError(f"{source} could not be moved to {target}: {error}") from error
    return target


def _run_directories(runs_dir: Path) -> Iterator[tuple[Path, int]]:
    """Each directory that holds a `run.json`, with the time that was last changed, in nanoseconds."""
    try:
        children = sorted(runs_dir.iterdir())
    except OSError:
        return
    for path in children:
        try:
            mtime = (path / DOCUMENT).stat().st_mtime_ns
        except OSError:
            continue
        yield path, mtime


def _facts(document: dict[str, Any]) -> dict[str, Any]:
    """What a list shows of a `run.json`. Tolerant: it may come from another version, or from somewhere else."""
    summary = document.get("summary")
    tasks = summary.get("tasks") if isinstance(summary, dict) else None
    tags = document.get("tags")
    return {
        "name": _text(document.get("name")),
        "model": _text(document.get("model")),
        "status": _text(document.get("status")),
        "tags": [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else [],
        "created_at": _seconds(document.get("created_at")),
        "tasks": [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else [],
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float:
    """A time as seconds since the epoch; given as that or in ISO 8601."""
    if isinstance(value, str):
        from datetime import datetime

        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            return 0.0
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
