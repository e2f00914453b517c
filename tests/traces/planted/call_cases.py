"""Planted and clean traces for the detectors of tool calls."""

from __future__ import annotations

from agentlab.traces.events import ToolCall
from agentlab.traces.steps import Trace

from .talks import GONE, SUM, TRACE, UPDATE, WEEK, Ours, Theirs, airline, question, ran, search, team

LONG = (
    "We need the sales data before we can go on. Please provide the sales data for both of the addresses in Pearl City."
)

REPEATED: tuple[list[Trace], list[Trace]] = (
    [
        Ours(WEEK)
        .bash("ls -la", "week.py")
        .bash("ls -la", "week.py")
        .bash("pwd", "/workspace")
        .bash("ls -la", "week.py")
        .submit()
        .failed(),
        airline()
        .tool("update_reservation", UPDATE, GONE)
        .tool("update_reservation", UPDATE, GONE)
        .agent("It is not available.")
        .failed(),
        search(search(search(Theirs("Who?"), "Jane", "none"), "Jane", "none"), "Jane", "none")
        .agent("Nobody.")
        .failed(),
        team("Which home sold for more?")
        .expert("A", LONG)
        .expert("B", "Soon.")
        .expert("A", LONG)
        .expert("B", "Wait.")
        .expert("A", LONG)
        .failed(),
        Ours(WEEK)
        .call("read", {"path": "weak.py"}, "[no such file: weak.py]", "failed")
        .call("read", {"path": "weak.py"}, "[no such file: weak.py]", "failed")
        .submit()
        .failed(),
    ],
    [
        Ours(WEEK)
        .bash("pytest -q", "1 failed", 1)
        .edit("week.py", "a", "b")
        .bash("pytest -q", "1 failed", 1)
        .edit("week.py", "b", "c")
        .bash("pytest -q", "1 failed", 1)
        .submit()
        .failed(),
        Ours(WEEK)
        .bash("sleep 30; cat log", "starting")
        .bash("sleep 30; cat log", "starting")
        .bash("sleep 30; cat log", "starting")
        .submit()
        .failed(),
        airline()
        .tool("get_order", {"id": "1"}, "{}")
        .tool("get_order", {"id": "2"}, "{}")
        .tool("get_order", {"id": "3"}, "{}")
        .agent("Done.")
        .passed(),
        team("Which?").expert("A", "TERMINATE").expert("B", "TERMINATE").expert("A", "TERMINATE").failed(),
        airline()
        .tool("get_order", {"id": "1"}, "{}")
        .user("And now?")
        .tool("get_order", {"id": "1"}, "{}")
        .agent("Still open.")
        .passed(),
    ],
)
MALFORMED: tuple[list[Trace], list[Trace]] = (
    [
        Ours(WEEK)
        .answered(
            ToolCall("1", "bash", {}, '{"command": "ls', "unexpected end"),
            "[the arguments are no JSON object: unexpected end]",
            "bad_arguments",
        )
        .submit()
        .failed(),
        Ours(WEEK)
        .call(
            "edit", {"path": "week.py", "text": "x"}, "[the arguments do not fit: old_text is missing]", "bad_arguments"
        )
        .submit()
        .failed(),
        Ours(SUM, tools=False).say("", ToolCall("1", "add", {}, "a=17, b=25", "no JSON object")).failed(),
        search(Theirs("Who?"), "", '{"error": "missing query_list/query"}').agent("Nobody.").failed(),
        airline()
        .tool("book", {"flight": "X"}, "Error: book() missing 1 required positional argument: 'passengers'")
        .agent("It failed.")
        .failed(),
    ],
    [
        airline().tool("get_user", {"user_id": "nobody"}, "Error: user not found").agent("I cannot find you.").failed(),
        Ours(WEEK)
        .bash("python run.py", f"{TRACE}TypeError: f() missing 1 required positional argument: 'x'", 1)
        .submit()
        .failed(),
        Ours(WEEK)
        .bash("ls --colour=maybe", "ls: invalid argument 'maybe' for '--color'\nUsage: ls [OPTION]...", 2)
        .submit()
        .failed(),
        Ours(WEEK)
        .call("edit", {"path": "week.py", "old_text": "zzz", "new_text": "x"}, "[old_text is not in week.py]", "failed")
        .submit()
        .failed(),
        question(
            "What does 'failed to parse the arguments' mean?", "Invalid arguments: the JSON could not be read."
        ).failed(),
    ],
)
UNKNOWN_TOOL: tuple[list[Trace], list[Trace]] = (
    [
        Ours(WEEK)
        .call(
            "search_web",
            {"query": "leap"},
            "[there is no tool 'search_web'; the tools are: bash, python, read, edit, submit]",
            "unknown_tool",
        )
        .submit()
        .failed(),
        Ours(WEEK)
        .call("str_replace", {}, "[there is no tool 'str_replace'; the tools are: bash]", "unknown_tool")
        .bash("ls", "week.py")
        .submit()
        .passed(),
        search(Theirs("Who?"), "x", "y")
        .tool("tool_name", {}, '{"error": "Unknown tool: tool_name"}')
        .agent("Nobody.")
        .failed(),
        airline().tool("refund", {"id": "1"}, "Unknown action refund").agent("Sorry.").failed(),
        airline().tool("refund", {"id": "1"}, "Error: tool 'refund' not found").agent("Sorry.").failed(),
    ],
    [
        Ours(WEEK).bash("tree", "bash: tree: command not found", 127).submit().failed(),
        airline().tool("get_order", {"id": "9"}, "Error: order not found").agent("There is no such order.").failed(),
        Ours(WEEK).bash("python run.py", f"{TRACE}NameError: name 'search' is not defined", 1).submit().failed(),
        Ours(WEEK).bash("cat log", "Unknown tool: hammer").submit().passed(),
        question("Is there a tool named sed?", "There is no tool named sed on Windows.").failed(),
    ],
)
MISREAD: tuple[list[Trace], list[Trace]] = (
    [
        airline()
        .tool("update_reservation", UPDATE, GONE)
        .agent("Your reservation has been updated to flight HAT030. Have a good trip!")
        .failed(),
        airline("Return my order.")
        .tool("return_items", {"id": "1"}, "Error: non-delivered order cannot be returned")
        .agent("I have successfully processed your return.")
        .user("Thanks!")
        .agent("You are welcome.")
        .failed(),
        ran(team("How many?"), "print(count())", f"{TRACE}NameError: name 'count' is not defined", 1)
        .expert("Verification_Expert", "The code executed successfully and the result is verified: there are 42.")
        .failed(),
        Ours("Count the rows of data.csv.")
        .call("read", {"path": "data.csv"}, "[no such file: data.csv]", "failed")
        .say("There are 120 rows.")
        .failed(),
        airline("Cancel it.")
        .tool("cancel", {"id": "1"}, "Error: cancellation needs insurance")
        .agent("Done: the reservation is cancelled and confirmed.")
        .failed(),
    ],
    [
        airline()
        .tool("update_reservation", UPDATE, GONE)
        .agent("Unfortunately that flight is not available on May 13. Shall I look for another?")
        .failed(),
        airline()
        .tool("update_reservation", UPDATE, GONE)
        .tool("update_reservation", {"flights": ["HAT031"]}, "{}")
        .agent("Your reservation has been updated to HAT031.")
        .passed(),
        ran(team("How many?"), "print(count())", f"{TRACE}NameError: name 'count' is not defined", 1)
        .expert("Research_Expert", "The function was missing. Let's define it.\n\n```python\nprint(42)\n```")
        .terminal("42")
        .failed(),
        airline().tool("update_reservation", UPDATE, "{}").agent("Your reservation has been updated.").passed(),
        ran(
            team("Find it."),
            "for r in search(q): print(r)",
            f"{TRACE}TypeError: 'NoneType' object is not iterable\nSearch Result 1:\n"
            + "The museum was founded in 1876 and moved in 1909. " * 8,
            1,
        )
        .expert("Research_Expert", "The search results are verified: it was founded in 1876.")
        .failed(),
    ],
)
NEVER: tuple[list[Trace], list[Trace]] = (
    [
        airline()
        .tool("update_reservation", UPDATE, GONE)
        .tool("update_reservation", {"flights": ["HAT031"]}, "Error: not enough seats")
        .agent("It does not work.")
        .failed(),
        ran(team("How many?"), "import pytesseract", f"{TRACE}ModuleNotFoundError: No module named 'pytesseract'", 1)
        .expert("A", "Let us assume that it is 7.")
        .failed(),
        Ours("How many rows has data.db?")
        .python("import duckdb", f"{TRACE}ModuleNotFoundError: No module named 'duckdb'", 1)
        .python("import polars", f"{TRACE}ModuleNotFoundError: No module named 'polars'", 1)
        .say("There are probably 100 rows.")
        .failed(),
        Ours("What is in the archive?")
        .bash("unzip a.zip", "unzip: cannot find or open a.zip", 9)
        .bash("7z x a.zip", "ERROR: a.zip\nThe system cannot find the file", 2)
        .submit("nothing")
        .failed(),
        search(airline(), "x", "y").tool("book", {"id": "1"}, "Error: payment amount does not add up").failed(),
    ],
    [
        airline()
        .tool("update_reservation", UPDATE, GONE)
        .tool("update_reservation", {"flights": ["HAT031"]}, "{}")
        .agent("Done.")
        .failed(),
        ran(
            ran(team("How many?"), "import numpy as np; print(n)", f"{TRACE}NameError: name 'n' is not defined", 1),
            "n = 3; print(n)",
            "3",
        )
        .expert("A", "It is 3.")
        .failed(),
        airline()
        .tool("get_user", {"id": "a"}, "Error: user not found")
        .tool("find_by_name", {"name": "A"}, "a_1")
        .agent("Found you.")
        .passed(),
        Ours("Is there a TODO?").bash("grep -rn TODO .", "", 1).say("No.").failed(),
        airline()
        .tool("book", {"id": "1"}, "Error: payment amount does not add up")
        .tool("get_user", {"id": "1"}, "{}")
        .agent("I need your card.")
        .failed(),
    ],
)
CASES: dict[str, tuple[list[Trace], list[Trace]]] = {
    "repeated_action": REPEATED,
    "malformed_call": MALFORMED,
    "unknown_tool": UNKNOWN_TOOL,
    "tool_error_misread_or_ignored": MISREAD,
    "error_never_recovered": NEVER,
}
