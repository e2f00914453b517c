"""The loops between model and world, and the tools that act in a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentlab.models.tools import Tool
    from agentlab.scaffolds.episode import Scaffold

BOX_RESOURCES = frozenset({"sandbox", "shell"})
"""Resources of tools that act in a box; a tool that wants neither runs on the host side."""


def open_scaffold(name: str) -> Scaffold:
    """The scaffold of that name. Raises KeyError for an unknown one."""
    if name == "direct":
        from agentlab.scaffolds.direct import direct

        return direct
    if name == "tools":
        from agentlab.scaffolds.tools import tools

        return tools
    raise KeyError(name)


def box_tool(name: str) -> Tool | None:
    """The tool of the `tools/1` contract with that name, None where there is none."""
    from agentlab.scaffolds import box_tools

    if name not in ("bash", "python", "read", "edit", "submit"):
        return None
    found: Tool = getattr(box_tools, name)
    return found
