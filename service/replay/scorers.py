"""Scorers by the names that a command line gives them."""

from __future__ import annotations

import difflib
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentlab.service.harness import ConfigError
from agentlab.service.raised import place_in
from agentlab.tasks.registry import split_file
from agentlab.tasks.types import Scorer

OWN = "own"
"""The scorers of each task, as they are now."""


def find_scorers(names: Sequence[str]) -> tuple[Scorer, ...]:
    """`NAME`, `FILE.py::NAME`, either with `:key=value,key=value`; `own` alone gives none, which is the tasks' own.

    Raises ConfigError for an unknown name, a file that cannot be read, and parameters that the scorer does not take.
    """
    if list(names) == [OWN]:
        return ()
    return tuple(_find(name) for name in names)


def _find(given: str) -> Scorer:
    path, member = split_file(given)
    name, _, settings = (member if path is not None else given).partition(":")
    held = _in_file(path, name) if path is not None else _built_in(name)
    if isinstance(held, Scorer):
        if settings:
            raise ConfigError(f"--scorer {given}: {name} is a scorer already, and takes no parameters")
        return held
    try:
        made = held(**_parameters(given, settings))
    except Exception as error:  # noqa: BLE001  the boundary: a user's file may raise anything
        raise ConfigError(f"--scorer {given}: {type(error).__name__}: {error}") from None
    if not isinstance(made, Scorer):
        raise ConfigError(f"--scorer {given}: {name} gives no Scorer")
    return made


def _built_in(name: str) -> Any:
    from agentlab.tasks import scorers
    from agentlab.tasks.scorers import programs

    known = {word: getattr(scorers, word) for word in scorers.__all__}
    known |= {word: getattr(programs, word) for word in ("program_tests", "repository_tests")}
    if name not in known:
        near = difflib.get_close_matches(name, (*known, OWN), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}, own, and FILE.py::NAME"
        raise ConfigError(f"--scorer {name}: no such scorer; {hint}")
    return known[name]


def _in_file(path: Path, name: str) -> Any:
    if not path.is_file():
        raise ConfigError(f"--scorer {path}: there is no such file")
    try:
        members = runpy.run_path(str(path))
    except Exception as error:  # noqa: BLE001  the boundary: a user's file may raise anything
        where = place_in(error, str(path))
        raise ConfigError(f"--scorer {where}: it cannot be read: {type(error).__name__}: {error}") from None
    if not callable(members.get(name)) and not isinstance(members.get(name), Scorer):
        raise ConfigError(f"--scorer {path}: there is nothing named {name!r} in it; say FILE.py::NAME")
    return members[name]


def _parameters(given: str, settings: str) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = {}
    for part in filter(None, settings.split(",")):
        key, equals, value = part.partition("=")
        if not (equals and key.isidentifier()):
            raise ConfigError(f"--scorer {given}: parameters are written key=value, not {part!r}")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            found[key] = value
    return found
