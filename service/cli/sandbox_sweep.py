"""`agentlab sandbox sweep`: remove what killed runners have left behind, and nothing of a living one."""

from __future__ import annotations

import json

import click

from agentlab.service.cli.exits import boundary
from agentlab.service.cli.results import json_option

LOCAL = ("docker", "bubblewrap")


@click.command("sweep", short_help="Remove boxes of runners that are dead.")
@click.option("--sandbox", type=click.Choice([*LOCAL, "modal"]), help="Of which one.  [default: those of this machine]")
@json_option
def sweep(sandbox: str | None, as_json: bool) -> None:
    """Remove boxes of this machine's runners that are no longer alive, as after a crash of the engine or the machine.
    Boxes of runs that go on are left alone.
    """
    from agentlab.service import event_loop

    async def go() -> list[dict[str, str]]:
        return [row for name in ((sandbox,) if sandbox else LOCAL) for row in await _sweep(name)]

    with boundary():
        removed = event_loop.run(go)
    if as_json:
        print(json.dumps(removed, indent=2))
    else:
        print("\n".join(f"removed {row['box']}" for row in removed) or "nothing was left behind")


async def _sweep(name: str) -> list[dict[str, str]]:
    from agentlab.sandboxes.bubblewrap import BubblewrapBackend
    from agentlab.sandboxes.docker import DockerBackend
    from agentlab.sandboxes.modal import ModalBackend

    backend: DockerBackend | BubblewrapBackend | ModalBackend
    match name:
        case "docker":
            backend = DockerBackend()
        case "bubblewrap":
            backend = BubblewrapBackend()
        case _:
            backend = ModalBackend()
    try:
        return [{"sandbox": name, "box": box} for box in await backend.sweep()]
    finally:
        await backend.close()
