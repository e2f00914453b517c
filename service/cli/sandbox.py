"""`agentlab sandbox`: what this machine offers, building images, sweeping up what a killed run left."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from agentlab.service.cli.exits import ABSENT, boundary
from agentlab.service.cli.results import json_option
from agentlab.service.cli.sandbox_bench import bench
from agentlab.service.cli.sandbox_shell import shell
from agentlab.service.cli.sandbox_sweep import sweep

if TYPE_CHECKING:
    from agentlab.sandboxes.attacks import Verdict
    from agentlab.service.sandbox_check import Examined

sandbox_option = click.option(
    "--sandbox", type=click.Choice(["docker", "bubblewrap", "modal"]), help="Which one.  [default: docker]"
)


@click.group()
def sandbox() -> None:
    """Check, build and sweep sandboxes."""


sandbox.add_command(bench)
sandbox.add_command(shell)
sandbox.add_command(sweep)


@sandbox.command("check", short_help="Say what this machine offers, and attack a box.")
@click.option("--quick", is_flag=True, help="Only ask what is there; attack nothing.")
@click.option("--list", "each", is_flag=True, help="Tell of each attack.")
@json_option
def check(quick: bool, each: bool, as_json: bool) -> None:
    """Say what this machine offers to run code in: which sandboxes, what they stand on, and what held when a hundred
    programs tried to get out of a box, as seen from outside. Takes about a minute.
    """
    from agentlab.service import event_loop
    from agentlab.service.sandbox_check import check_sandboxes

    progress = Progress()
    with boundary():
        examined = event_loop.run(lambda: check_sandboxes(attacked=not quick, tell=progress.tell))
    progress.end()
    if as_json:
        print(json.dumps([found.as_dict() for found in examined], indent=2))
    else:
        print("\n\n".join("\n".join(_lines(found, each=each)) for found in examined))
    if not any(found.usable for found in examined):
        raise SystemExit(ABSENT)


class Progress:
    """How many attacks were made, in one line of a terminal that changes; nothing where nobody looks."""

    def __init__(self) -> None:
        self._made: dict[str, int] = {}

    def tell(self, sandbox: str, verdict: Verdict) -> None:
        self._made[sandbox] = self._made.get(sandbox, 0) + 1
        if sys.stderr.isatty():
            counts = ", ".join(f"{name} {count}" for name, count in self._made.items())
            print(f"\rattacks made: {counts} ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._made and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


HOLDS = {True: "holds", False: "OPEN", None: "?"}


def _lines(found: Examined, *, each: bool) -> Iterator[str]:
    """What was found of one back-end, as a person reads it."""
    from agentlab.traces.render import clean

    yield f"{found.sandbox}: {'usable' if found.usable else f'not usable: {clean(found.reason)}'}"
    for name, said in found.facts.items():
        yield f"  {name:15}  {clean(said)}"
    if found.rows:
        yield "  attacked just now from inside a box, and looked at from outside:"
    for row in found.rows:
        yield f"    {HOLDS[row.holds]:5}  {row.name:13}  {clean(row.said)}"
    for verdict in found.verdicts if each else ():
        yield f"    {verdict.attack.family}: tried to {verdict.attack.tries}"
        yield f"      {clean(str(verdict))}"
    if found.untried:
        yield f"  nothing {'more ' if found.rows else ''}was tried in a box: {clean(found.untried)}"
    if found.not_contained:
        yield "  not contained:"
    for said in found.not_contained:
        yield f"    - {said}"


@sandbox.command("build", short_help="Build or fetch an image.")
@click.argument("image", default="agentlab/python:latest")
@sandbox_option
def build(image: str, sandbox: str | None) -> None:
    """Build or fetch IMAGE, where it is missing or outdated: from its base image, else from Debian packages. For
    bubblewrap it is unpacked, and then shown in boxes in place of this machine's own system.
    """
    from agentlab.sandboxes import open_backend, unpacking
    from agentlab.service import event_loop
    from agentlab.service.config import default_sandbox

    chosen = sandbox or default_sandbox()

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    async def go() -> str:
        backend = open_backend(chosen)  # type: ignore[arg-type]  # click offers the right ones
        try:
            await backend.check()
            if chosen == "bubblewrap":
                return f"root:{(await unpacking.fill(image, say)).name}"
            return await backend.ensure_image(image, say)
        finally:
            await backend.close()

    with boundary():
        print(f"{image} {event_loop.run(go)}")
