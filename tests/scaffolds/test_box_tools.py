"""The tools of `tools/1` in a real box, and the exact text that a model sees."""

from __future__ import annotations

from typing import Any

import pytest
from endpoints import Endpoint, bash, calling, chat, tool_call

from agentlab.models.tools import Tool, call_tool
from agentlab.sandboxes import Sandbox
from agentlab.scaffolds import box_tool
from agentlab.scaffolds.episode import AgentLimits
from agentlab.scaffolds.tools import tools
from agentlab.traces.events import ToolCall, ToolCallEvent

pytestmark = pytest.mark.docker
TOOLS = {name: tool for name in ("bash", "python", "read", "edit") if isinstance(tool := box_tool(name), Tool)}


class Hands:
    """Calls tools in one box as the scaffold does, and gives back what the model would see."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.shell: Any = None

    async def __call__(self, name: str, **arguments: Any) -> str:
        if self.shell is None:
            self.shell = await self.box.open_shell()
        resources = {"sandbox": self.box, "shell": self.shell}
        result = await call_tool(TOOLS, ToolCall(id="c", name=name, arguments=arguments), resources)
        return result.content


@pytest.fixture
def use(box: Sandbox) -> Hands:
    return Hands(box)


async def test_bash_keeps_directory_variables_and_functions(use: Hands) -> None:
    assert await use("bash", command="pwd") == "/workspace\n[exit code 0]"
    assert await use("bash", command="mkdir sub && cd sub; x=7; twice() { echo $(( $1 * 2 )); }") == "[exit code 0]"
    assert await use("bash", command="pwd; twice $x") == "/workspace/sub\n14\n[exit code 0]"
    assert await use("bash", command="echo out; echo err >&2; (exit 3)") == "out\nerr\n[exit code 3]"
    assert await use("bash", command="printf no-newline") == "no-newline\n[exit code 0]"


async def test_bash_that_runs_too_long_is_restarted(use: Hands) -> None:
    await use("bash", command="x=7; cd /tmp")
    stopped = await use("bash", command="echo begun; sleep 60", timeout=1)
    assert stopped == "begun\n[stopped after 1 s; the shell was restarted]"
    assert await use("bash", command="echo x=$x in $PWD") == "x= in /workspace\n[exit code 0]"


async def test_bash_that_exits_answers_and_goes_on(use: Hands) -> None:
    assert await use("bash", command="exit 5") == "[exit code 5]"
    assert await use("bash", command="echo here") == "here\n[exit code 0]"


async def test_timeouts_have_bounds(use: Hands) -> None:
    assert await use("bash", command="sleep 60", timeout=-5) == "[stopped after 1 s; the shell was restarted]"


async def test_python_runs_in_a_new_process_each_time(use: Hands) -> None:
    code = "import os, sys\nx = 1\nprint(os.getcwd())\nprint('oops', file=sys.stderr)\n"
    assert await use("python", code=code) == "/workspace\noops\n[exit code 0]"
    again = await use("python", code="print(x)")
    assert "NameError: name 'x' is not defined" in again
    assert again.endswith("\n[exit code 1]")
    assert await use("python", code="import time; time.sleep(60)", timeout=1) == "[stopped after 1 s]"
    assert await use("python", code="raise SystemExit(4)") == "[exit code 4]"


async def test_python_out_of_memory_is_told(use: Hands) -> None:
    told = await use("python", code="x = bytearray(1 << 30)\nprint('no')")
    assert "no\n" not in told
    assert told.endswith(("[exit code -9; a process was killed: out of memory]", "\n[exit code 1]"))


async def test_read_shows_numbered_lines(use: Hands) -> None:
    await use.box.write_file("ten.txt", "".join(f"line {n}\n" for n in range(1, 11)).encode())
    assert await use("read", path="ten.txt", start=2, lines=2) == "     2\tline 2\n     3\tline 3\n[lines 2-3 of 10]"
    whole = await use("read", path="/workspace/ten.txt")
    assert whole.startswith("     1\tline 1\n")
    assert whole.endswith("    10\tline 10\n[lines 1-10 of 10]")
    assert await use("read", path="ten.txt", start=11) == "[ten.txt has 10 lines; there is none from line 11]"
    assert await use("read", path="ten.txt", start=-3, lines=0) == "     1\tline 1\n[lines 1-1 of 10]"


async def test_read_says_what_is_no_text_file(use: Hands) -> None:
    await use.box.write_file("empty.txt", b"")
    await use.box.write_file("picture.png", b"\x89PNG\xff\x00")
    await use("bash", command="mkdir folder; mkfifo pipe; ln -s /etc/shadow secret")
    assert await use("read", path="empty.txt") == "[empty.txt is empty]"
    assert await use("read", path="nope.txt") == "[there is no file nope.txt (paths are relative to /workspace)]"
    assert await use("read", path="folder") == "[folder is a directory; list it with bash: ls folder]"
    assert await use("read", path="picture.png") == "[picture.png is not a UTF-8 text file]"
    assert (await use("read", path="pipe")).startswith("[pipe cannot be read: ")
    assert (await use("read", path="secret")).startswith("[secret cannot be read: ")
    assert (await use("read", path="a\0b")).startswith("[")


async def test_edit_wants_one_match(use: Hands) -> None:
    wrote = await use("edit", path="new/a.py", old_text="", new_text="x = 1\ny = 1\n")
    assert wrote == "[wrote new/a.py: 2 lines]"
    assert await use("edit", path="new/a.py", old_text="x = 1", new_text="x = 2") == "[edited new/a.py]"
    assert await use.box.read_file("new/a.py") == b"x = 2\ny = 1\n"
    missing = await use("edit", path="new/a.py", old_text="z", new_text="")
    assert missing == "[old_text was not found in new/a.py; it must match exactly, blanks included]"
    twice = await use("edit", path="new/a.py", old_text=" = ", new_text=" == ")
    assert twice == "[old_text occurs 2 times in new/a.py; give more of its surroundings so that it occurs once]"
    assert await use.box.read_file("new/a.py") == b"x = 2\ny = 1\n", "what is refused changes nothing"
    assert await use("edit", path="new/a.py", old_text="", new_text="") == "[wrote new/a.py: 0 lines]"
    assert await use("edit", path="nope.py", old_text="a", new_text="b") == (
        "[there is no file nope.py (paths are relative to /workspace)]"
    )
    assert (await use("edit", path="new", old_text="", new_text="b")).startswith("[new cannot be written: ")
    assert (await use("edit", path="/etc/passwd", old_text="", new_text="b")).startswith("[/etc/passwd cannot be ")


async def test_edit_keeps_line_ends_and_what_is_no_ascii(use: Hands) -> None:
    await use.box.write_file("dos.txt", "één\r\ntwee\r\n".encode())
    await use("edit", path="dos.txt", old_text="twee", new_text="deux – 2")
    assert await use.box.read_file("dos.txt") == "één\r\ndeux – 2\r\n".encode()


async def test_output_beyond_the_bound_is_counted(use: Hands) -> None:
    result = await use("bash", command="head -c 3000000 /dev/zero | tr '\\0' x")
    assert "bytes of output were dropped]" in result
    assert "[exit code 0; " in result
    assert len(result) < 17_000


async def test_box_tools_of_one_message_run_one_after_the_other(endpoint: Endpoint, episode: Any, box: Sandbox) -> None:
    commands = ["sleep 0.2; echo a >> log", "echo b >> log", "cat log"]
    calls = [tool_call("bash", {"command": command}, f"c{n}") for n, command in enumerate(commands)]
    endpoint.queue(lambda body, request: calling(*calls))
    endpoint.behave = lambda body, request: chat("done")

    async def ready() -> Sandbox:
        return box

    made = episode(*TOOLS.values(), box=ready)
    await tools(made)
    contents = [event.result.content for event in made.recorder.events if isinstance(event, ToolCallEvent)]
    assert contents == ["[exit code 0]", "[exit code 0]", "a\nb\n[exit code 0]"]


async def test_the_time_limit_stops_a_command_and_leaves_the_box_usable(
    endpoint: Endpoint, episode: Any, box: Sandbox
) -> None:
    endpoint.behave = lambda body, request: bash("touch begun; sleep 60")

    async def ready() -> Sandbox:
        return box

    submission = await tools(episode(*TOOLS.values(), box=ready, limits=AgentLimits(time_s=1.0)))
    assert submission.flags == ("time_limit",)
    await box.quiesce()
    assert await box.read_file("begun") == b""
