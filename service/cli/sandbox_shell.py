"""`agentlab sandbox shell`: a person looks inside a box."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from agentlab.service.cli.exits import boundary, fail

if TYPE_CHECKING:
    from anyio import CancelScope

    from agentlab.sandboxes import ExecResult, Sandbox
    from agentlab.service.box_shell import Wanted


@click.command("shell", short_help="Look around in the box of a task.")
@click.argument("task", required=False)
@click.argument("sample", required=False)
@click.option("--sandbox", type=click.Choice(["docker", "bubblewrap", "modal"]), help="Which one.  [default: docker]")
@click.option("--harness", default="tools", metavar="NAME", help="Whose box settings to use.  [default: tools]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set any field of the harness.")
@click.option("--image", metavar="IMAGE", help="An image, instead of a task's.")
@click.option("--timeout", type=click.FloatRange(0.1), default=60.0, metavar="S", help="For a command.  [default: 60]")
@click.option("--allow-network", is_flag=True, help="Let a task of others have the network it asks for.")
def shell(
    task: str | None,
    sample: str | None,
    sandbox: str | None,
    harness: str,
    settings: tuple[str, ...],
    image: str | None,
    timeout: float,
    allow_network: bool,
) -> None:
    """Type commands into a box as the agent of a TASK's SAMPLE would find it (without one: of the first that has a box;
    without a task: an empty box). The sample's files are there, its tests are not. The box is gone at the end.

    Commands may also come from a pipe; then the exit code is that of the last one.
    """

    from agentlab.sandboxes import SandboxError
    from agentlab.service import event_loop
    from agentlab.service.box_shell import Wanted, box_of, opened
    from agentlab.service.config import default_sandbox

    if task and image:
        fail("name a task or --image, not both")
    name = sandbox or default_sandbox()

    def say(sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)

    async def go(wanted: Wanted) -> int:
        async with opened(wanted, name, say) as box:  # type: ignore[arg-type]  # click offers the right ones
            say(f"{_whose(wanted, task)}{box.isolation} box {box.id} of {box.image}; exit or Ctrl-D ends it")
            try:
                return await _converse(box, timeout)
            except* SandboxError as errors:
                raise errors.exceptions[0] from None

    with boundary():
        if task:
            wanted = box_of(
                task,
                sample,
                sandbox=name,  # type: ignore[arg-type]  # the same
                harness=harness,
                settings=settings,
                network=allow_network,
            )
        else:
            from agentlab.sandboxes import BoxSpec

            wanted = Wanted(BoxSpec(image=image) if image else BoxSpec())
        code = event_loop.run(go, wanted)
    raise SystemExit(code)


def _whose(wanted: Wanted, task: str | None) -> str:
    return f"{task}/{wanted.sample}: " if task else ""


async def _converse(box: Sandbox, timeout: float) -> int:
    """Carry lines into the box's shell until they end; the exit code of the last one where nobody types."""
    import anyio

    typed = sys.stdin.isatty()
    lines = _lines(f"{box.workdir} $ " if typed else "")
    session = await box.open_shell()
    code = 0
    running: list[anyio.CancelScope] = []
    async with anyio.create_task_group() as group:
        if typed:
            group.start_soon(_interrupts, running)
        while (line := await anyio.to_thread.run_sync(next, lines, None)) is not None:
            if not line.strip():
                continue
            if line.split() == ["exit"]:
                break
            with anyio.CancelScope() as scope:
                running.append(scope)
                result = await session.run(line, timeout=timeout)
                _show(result, timeout)
                code = result.exit_code
            running.clear()
            if scope.cancelled_caught:
                print("[interrupted; the shell was started anew]", file=sys.stderr, flush=True)
        group.cancel_scope.cancel()
    return 0 if typed else code & 0xFF


async def _interrupts(running: list[CancelScope]) -> None:
    """Ctrl-C ends the command, not the box."""
    import signal

    import anyio

    with anyio.open_signal_receiver(signal.SIGINT) as interrupts:
        async for _ in interrupts:
            if running:
                running[0].cancel()
            else:
                print("\n(exit or Ctrl-D ends it)", file=sys.stderr, flush=True)


def _lines(prompt: str) -> Iterator[str]:
    """What is typed or piped in, line by line."""
    if prompt:
        # Importing it gives input() editing and a history.
        import readline  # noqa: F401
    while True:
        try:
            yield input(prompt) if prompt else _piped()
        except (EOFError, KeyboardInterrupt):
            if prompt:
                print(file=sys.stderr)
            return


def _piped() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _show(result: ExecResult, timeout: float) -> None:
    """What a command said, cleaned of what would steer the terminal."""
    from agentlab.traces.render import clean

    said = clean(result.stdout.decode("utf-8", "replace"))
    if said:
        print(said, end="" if said.endswith("\n") else "\n", flush=True)
    if result.timed_out:
        print(f"[stopped after {timeout:g} s; the shell was started anew]", file=sys.stderr, flush=True)
    elif result.oom:
        print("[killed: the box is out of memory]", file=sys.stderr, flush=True)
    elif result.exit_code:
        print(f"[exit code {result.exit_code}]", file=sys.stderr, flush=True)
    if result.dropped_bytes:
        print(f"[{result.dropped_bytes} bytes of output were dropped]", file=sys.stderr, flush=True)
