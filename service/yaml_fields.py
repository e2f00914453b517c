"""YAML as a harness means it: what it says, and on which line."""

from __future__ import annotations

from typing import Any

import yaml


class ConfigError(Exception):
    """Configuration that cannot be used. The message is one line: file, line, field, and the nearest right name."""


class Loader(yaml.SafeLoader):
    """YAML as a harness means it: `2024-01-01` is a revision, and stays the text that was typed."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str, where: str) -> dict[str, Any]:
    """The fields of a harness file. Raises ConfigError with the line."""
    try:
        fields = yaml.load(text, Loader)  # noqa: S506  a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{where}:{line}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the last two: endless digits, endless brackets
        raise ConfigError(f"{where}:1: this is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(fields, dict):
        kind = "empty" if fields is None else f"a {type(fields).__name__}"
        raise ConfigError(f"{where}:1: a harness is a mapping of fields, this is {kind}")
    _refuse_repeated_keys(yaml.compose(text), where)
    return fields


def _refuse_repeated_keys(node: yaml.Node | None, where: str) -> None:
    """YAML lets the last of two equal keys hold in silence; here the second one is an error."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            raise ConfigError(f"{where}:{key.start_mark.line + 1}: {key.value} is given twice")
        seen.add(key.value)
        _refuse_repeated_keys(value, where)


def line_of(text: str, path: list[str]) -> int:
    """The line on which the field at `path` stands, 1 where it cannot be found."""
    return find(text, path)[0]


def find(text: str, path: list[str]) -> tuple[int, yaml.Node | None]:
    """The line of the field at `path`, or of the last one above it that there is, and the node of its value."""
    try:
        node = yaml.compose(text)
    except yaml.YAMLError:
        return 1, None
    line = 1
    for part in path:
        match = None
        if isinstance(node, yaml.MappingNode):
            match = next(((key, value) for key, value in node.value if key.value == part), None)
        if match is None:
            return line, None
        line = match[0].start_mark.line + 1
        node = match[1]
    return line, node
