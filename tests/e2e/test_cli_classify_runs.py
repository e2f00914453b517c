"""`agentlab classify` on runs of many trials: in several processes, summed up, stopped and killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from e2e.command_line import Cli, line_with
from e2e.test_cli_terminal import Terminal

from agentlab.service.importing import import_traces
from agentlab.traces.reader import RunReader

TRIALS = 300
LONG = "-of-bread" * 60
"""In each id, so that what is printed is more than a pipe and who reads it hold between them (192 KiB)."""
SAID = (
    "Stir it for ten minutes and then let it rest, as your grandmother would have done it. ",
    "I'm sorry, but I can't help with that. ",
)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of small ungraded traces: every third agent declines."""
    folder = tmp_path_factory.mktemp("imported")
    with (folder / "many.jsonl").open("w") as file:
        for number in range(TRIALS):
            asked = {"role": "user", "content": f"How do I bake loaf {number}?"}
            said = {"role": "assistant", "content": SAID[number % 3 == 0] * 2}
            file.write(json.dumps({"id": f"loaf-{number}{LONG}", "messages": [asked, said]}) + "\n")
    import_traces(folder / "many.jsonl", folder / "runs")
    return folder / "runs"


@pytest.fixture
def many(cli: Cli, imported: Path) -> Cli:
    shutil.copytree(imported, cli.home / "runs")
    return cli


def stored(cli: Cli) -> list[tuple[int, str, str]]:
    """The labels of classifiers, in the order they were stored in."""
    with RunReader(cli.run_dir) as reader:
        found = [label for label in reader.labels() if label.name in ("refusal", "conduct", "cause")]
    return [(label.trial, label.name, label.value) for label in found]


def every_label() -> list[tuple[int, str, str]]:
    found = []
    for trial in range(1, TRIALS + 1):
        refusal = "full_refusal" if (trial - 1) % 3 == 0 else "full_compliance"
        found += [(trial, "refusal", refusal), (trial, "conduct", "none"), (trial, "cause", "unknown")]
    return found


async def test_several_processes_say_and_store_the_same_in_the_same_order(many: Cli) -> None:
    alone = await many("classify", "latest", "--no-store", "--json", "--processes", "1")
    assert alone.code == 0 and len(alone.out.splitlines()) == 2 * TRIALS, alone.err
    side_by_side = await many("classify", "latest", "--json", "--processes", "3")
    assert side_by_side.out == alone.out and side_by_side.err == ""
    assert stored(many) == every_label()


async def test_a_large_run_is_summed_up_on_a_terminal(many: Cli) -> None:
    lines = await Terminal().run(many, "classify", "latest")
    said = [" ".join(line.split()) for line in lines if line.strip()]
    refused = len(range(0, TRIALS, 3))
    assert f"refusal full_compliance {TRIALS - refused} 66.7 %" in said and f"full_refusal {refused} 33.3 %" in said
    assert f"conduct none {TRIALS} 100.0 %" in said
    assert any(line.startswith(f"{3 * TRIALS} labels are stored") for line in said) and len(said) < 12
    again = await many("classify", "latest", "--no-lines")
    table = [" ".join(line.split()) for line in again.out.splitlines()]
    assert table[1:-1] == said[1:-1] and table[-1].startswith("no label is new")


async def gone(pid: int) -> None:
    """Return once a process that is not ours to wait for has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), 30)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@pytest.mark.parametrize("how", ["ctrl-c", "killed", "a process killed"])
async def test_what_is_stopped_goes_on_from_there_and_leaves_no_process(many: Cli, how: str) -> None:
    """Nobody reads its output beyond the first line, so that it stands still in the middle of its work (see LONG)."""
    process = await many.start("classify", "latest", "--json", "--processes", "2")
    await line_with(process.stdout, "loaf-0")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert len(workers) == 2
    if how == "ctrl-c":
        for pid in (*workers, process.pid):  # as a terminal does
            os.kill(pid, signal.SIGINT)
    else:
        os.kill(process.pid if how == "killed" else workers[0], signal.SIGKILL)
    ended = await many.ended(process)
    for worker in workers:
        await gone(worker)
    assert "Traceback" not in ended.err
    assert ended.code == {"ctrl-c": 130, "killed": -9, "a process killed": 1}[how], ended.err
    assert how == "killed" or {"ctrl-c": "call it again", "a process killed": "signal 9"}[how] in ended.err
    begun = stored(many)
    assert begun == every_label()[: len(begun)] and (how == "killed" or 0 < len(begun) < 3 * TRIALS)
    again = await many("classify", "latest", "--no-lines")
    assert again.code == 0 and stored(many) == every_label(), again.err
