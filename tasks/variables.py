"""`${NAME}` and `${NAME:-default}` in what a task says: replaced from the variables that the run allows, no others."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentlab.tasks.types import TaskError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:[^}])*))?\}")


def expand(env: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The environment with its references replaced. Raises TaskError for one that is neither allowed nor has a
    default.
    """

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if name in variables:
            return variables[name]
        if default is not None:
            return default
        raise TaskError(
            f"the task asks for the variable {name} of this machine: set it, and say --set foreign.env=[{name}]"
        )

    return {name: _REFERENCE.sub(value, text) for name, text in env.items()}
