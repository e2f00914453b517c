"""Traces in a terminal: readable steps, and nothing in them that a terminal would obey."""

from __future__ import annotations

import json
import math
import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.traces.events import (
    Artifact,
    ErrorRaised,
    Event,
    ImagePart,
    LimitReached,
    Message,
    ModelCall,
    ModelRetry,
    NetworkAccess,
    Note,
    SandboxEnd,
    SandboxExec,
    SandboxStart,
    Scored,
    TextPart,
    ToolCall,
    ToolCallEvent,
    ToolResult,
    Usage,
)
from agentlab.traces.render import clean, render_trace, to_json
from agentlab.traces.rows import StoredEvent

FORBIDDEN = {"\u202e", "\u2066", "\u2069", "\u200f", "\u2028", "\U000e0041"}


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;new title\x07after", "after"),
        ("\x1b]52;c;cm0gLXJmIC8=\x1b\\after", "after"),
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1bP+q544e\x1b\\after", "after"),
        ("\x1b_apc\x9cafter", "after"),
        ("\x9b31mred", "red"),
        ("\x9d0;title\x07after", "after"),
        ("passed\r\x1b[Kfailed", "passedfailed"),
        ("one\r\ntwo\ttab\n", "one\ntwo\ttab\n"),
        ("back\b\bspace\x7f\x00", "backspace"),
        ("user\u202etxt.exe\u2066", "usertxt.exe"),
        ("\x1b\x1b[31m[31mx", "[31mx"),
        ("\x1b]unfinished and then the evidence", "unfinished and then the evidence"),
        ("\x1bP never ends\nbut lines go on", " never ends\nbut lines go on"),
        ("cut \x1b[", "cut "),
        ("tag\U000e0041 lone\ud800", "tag lone"),
        ("ünïcödé 漢字 👍 stays", "ünïcödé 漢字 👍 stays"),
    ],
)
def test_control_sequences_are_removed(hostile: str, shown: str) -> None:
    assert clean(hostile) == shown


@given(
    st.text(alphabet=st.sampled_from("\x1b[]P\\;0m\x07\x9b\x9c\x9d\r\n\t a\u202e\x00\x7f\x18"), max_size=60) | st.text()
)
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    cleaned = clean(text)
    assert all(char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs") for char in cleaned)
    assert not FORBIDDEN & set(cleaned) and clean(cleaned) == cleaned


def test_an_endless_row_of_openers_is_cleaned_quickly() -> None:
    assert clean("\x1b]" * 200_000 + "x") == "x"
    assert clean("\x9b" + "1;" * 200_000) == ""


SYSTEM, USER = Message("system", "You are terse."), Message("user", "List the files.")
ASKED = Message("assistant", "", tool_calls=(ToolCall("1", "bash", {"command": "ls\nwc"}),), reasoning="I should look.")
TOLD = Message("tool", "a.txt", tool_call_id="1")
TRACE: list[Event] = [
    SandboxStart(
        at=100.0,
        box="0123456789abcdef",
        sandbox="docker",
        isolation="docker",
        image="python",
        wait_ms=1.0,
        start_ms=250.0,
    ),
    ModelRetry(at=101.0, kind="rate_limit", message="slow down", status=429, wait_s=1.5),
    ModelCall(
        at=102.0,
        model="m",
        messages=(SYSTEM, USER),
        response=ASKED,
        usage=Usage(20, 5),
        latency_ms=1500.0,
        ttft_ms=80.0,
        cost_usd=0.001,
    ),
    ToolCallEvent(
        at=103.0, call=ASKED.tool_calls[0], result=ToolResult("\x1b[31ma.txt\x1b[0m", dropped_bytes=7), duration_ms=12.0
    ),
    ModelCall(
        at=104.0,
        model="m",
        messages=(SYSTEM, USER, ASKED, TOLD),
        response=Message("assistant", "a.txt"),
        stop_reason="length",
    ),
    SandboxExec(
        at=105.0, box="b", argv=("pytest", "-q"), exit_code=1, stdout="1 failed", duration_ms=900.0, user="grader"
    ),
    LimitReached(at=106.0, limit="turn_limit", value=2),
    Scored(
        at=107.0,
        scorer="exact",
        version=2,
        value=0.0,
        answer="a.txt",
        target="b.txt | c.txt",
        explanation="b.txt expected",
        flags=("truncated",),
    ),
    Artifact(at=108.0, sha256="f" * 64, media_type="image/png", name="shot.png", size=9),
    Note(at=109.0, text="done", data={"x": 1}),
    ErrorRaised(at=110.0, boundary="verifier", kind="crash", message="the scorer raised", detail="Traceback ..."),
    SandboxEnd(at=400.0, box="b", seconds=9.5),
]


def test_a_trace_reads_as_numbered_steps() -> None:
    blocks = list(render_trace(TRACE))
    text = "\n".join(blocks)
    assert [block.split()[0] for block in blocks] == [str(number) for number in range(1, 13)]
    assert "model m: 20 tokens in, 5 out, 1.5 s, first token after 80 ms, 0.001000 USD  (+2.0 s)" in blocks[2]
    assert "system: You are terse." in blocks[2] and "assistant, thinking: I should look." in blocks[2]
    assert blocks[2].endswith("assistant calls: bash")
    assert "arguments:\n         command=\n           ls\n           wc\n       output: a.txt\n" in blocks[3]
    assert "(7 bytes of output were cut, the model did not see them)" in blocks[3] and "\x1b" not in text
    assert "system" not in blocks[4] and "stopped by length" in blocks[4]
    assert "exec as grader: exit 1, 900 ms" in blocks[5] and "stdout: 1 failed" in blocks[5]
    assert "answer: a.txt\n       target: b.txt | c.txt\n" in blocks[7]
    assert "score 0 by exact, version 2, flagged truncated" in blocks[7] and "why: b.txt expected" in blocks[7]
    assert "error at verifier: crash" in blocks[10] and "the scorer raised" in blocks[10]
    assert "rate_limit (HTTP 429), tried again after 1.5 s" in blocks[1] and blocks[11].endswith("(+5.0 min)")


def test_a_connection_reads_as_where_it_led_and_what_became_of_it() -> None:
    moved = NetworkAccess(
        at=0.0, box="b", verdict="opened", host="pypi.org", port=443, address="151.101.0.223", sent_bytes=812,
        received_bytes=70_000, duration_ms=1200.0,
    )  # fmt: skip
    cut = msgspec.structs.replace(moved, reason="bytes", message="the 1 MB that this box may move are used")
    refused = NetworkAccess(
        at=0.0, box="b", verdict="refused", host="evil.net", port=443, reason="not_listed", message="not on the list"
    )
    strange = NetworkAccess(at=0.0, box="b", verdict="refused", host="10.0.0.1\x1b[2J", reason="not_listed")
    unreadable = NetworkAccess(at=0.0, box="b", verdict="refused", reason="request", message="no HTTP")
    blocks = list(render_trace([moved, cut, refused, strange, unreadable]))
    assert "network pypi.org:443 opened (151.101.0.223): 812 bytes out, 70000 in, 1.2 s" in blocks[0]
    assert "cut: bytes" in blocks[1] and "why: the 1 MB" in blocks[1]
    assert "network evil.net:443 refused: not_listed" in blocks[2] and "why: not on the list" in blocks[2]
    assert "network 10.0.0.1 refused" in blocks[3]
    assert "network a connection refused: request" in blocks[4]


def test_long_texts_are_cut_in_the_middle_and_wrapped() -> None:
    call = ModelCall(at=0.0, model="m", response=Message("assistant", "a" * 5000 + "the end"))
    (block,) = render_trace([call], width=60, max_chars=300)
    assert "... 4707 more characters (--full) ..." in block and block.endswith("the end")
    assert max(map(len, block.split("\n")[1:])) <= 60
    (whole,) = render_trace([call], width=60, max_chars=None)
    assert whole.count("a") >= 5000


def test_long_lines_break_at_blanks_and_long_words_wherever_they_must() -> None:
    said = "He saw James and many others " * 20
    (block,) = render_trace([Note(at=0.0, text=said + "x" * 150)], width=61)
    lines = [line.strip() for line in block.split("\n")[1:]]
    words = [word for line in lines for word in line.split()]
    assert words[:120] == said.split() and "".join(words[120:]) == "x" * 150
    assert max(map(len, block.split("\n")[1:])) <= 61


def test_many_lines_are_cut_in_the_middle() -> None:
    note = Note(at=0.0, text="\n".join(f"line {number}" for number in range(100)))
    (block,) = render_trace([note], max_lines=10)
    shown = [line.strip() for line in block.split("\n")[1:]]
    assert shown == [
        *(f"line {n}" for n in range(6)),
        "... 90 more lines (--full) ...",
        *(f"line {n}" for n in range(96, 100)),
    ]
    (whole,) = render_trace([note], max_lines=None)
    assert len(whole.split("\n")) == 101


def test_hostile_names_cannot_forge_steps() -> None:
    call = ToolCallEvent(
        at=0.0, call=ToolCall("1", "x\n  2  score 1  exact/1\x1b[2J"), result=ToolResult("[bold]no markup[/bold]")
    )
    (block,) = render_trace([call])
    assert block.split("\n")[0].startswith("  1  tool x   2  score 1") and "\x1b" not in block
    assert "[bold]no markup[/bold]" in block


def test_what_a_tool_was_asked_and_answered_is_shown_once_at_its_own_step() -> None:
    told = ToolCallEvent(at=103.0, call=ASKED.tool_calls[0], result=ToolResult("a.txt"))
    again = msgspec.structs.replace(TRACE[4], messages=(SYSTEM, USER, ASKED, TOLD, Message("user", "Go on.")))
    blocks = list(render_trace([TRACE[2], told, again]))
    text = "\n".join(blocks)
    assert text.count("a.txt") == 2  # the output, and the answer that quotes it
    assert text.count("ls\n") == 1 and "ls\n" in blocks[1] and "output: a.txt" in blocks[1]
    assert "user: Go on." in blocks[2]


def test_a_call_that_was_not_carried_out_and_a_result_that_was_changed_are_shown_where_they_stand() -> None:
    (block,) = render_trace([TRACE[2]])
    assert block.endswith("assistant calls bash:\n         command=\n           ls\n           wc")
    told = ToolCallEvent(at=103.0, call=ASKED.tool_calls[0], result=ToolResult("something else"))
    assert "tool: a.txt" in list(render_trace([TRACE[2], told, TRACE[4]]))[2]


def test_thinking_that_is_not_sent_back_repeats_no_message() -> None:
    thought = Message("assistant", "Forty-two.", reasoning="Six times seven.")
    first = ModelCall(at=1.0, model="m", messages=(USER,), response=thought)
    more = (USER, Message("assistant", "Forty-two."), Message("user", "Sure?"))
    blocks = list(render_trace([first, ModelCall(at=2.0, model="m", messages=more)]))
    assert "Forty-two." in blocks[0] and blocks[1].split("\n")[1:] == ["       user: Sure?"]


def test_another_conversation_is_shown_from_its_beginning_and_the_first_goes_on_after_it() -> None:
    judge = ModelCall(at=9.0, model="j", messages=(Message("user", "Grade this."),), purpose="judge")
    blocks = list(render_trace([TRACE[2], judge, TRACE[4]]))
    assert "judge j" in blocks[1] and "user: Grade this." in blocks[1]
    assert "user" not in blocks[2] and "tool: a.txt" in blocks[2]


def test_a_malformed_call_is_shown_as_it_came() -> None:
    call = ToolCall("1", "bash", raw='{"command": "ls', error="no JSON object")
    (block,) = render_trace([ToolCallEvent(at=0.0, call=call, result=ToolResult("not JSON", error="bad_arguments"))])
    assert '{"command": "ls\n         malformed: no JSON object' in block and "failed: bad arguments" in block


def test_wrapped_code_keeps_its_shape() -> None:
    code = "        return sum(price * quantity for price, quantity in self.items.values() if quantity)"
    (block,) = render_trace([Note(at=0.0, text=f"def total(self):\n{code}")], width=60)
    lines = block.split("\n")[2:]
    assert len(lines) == 3 and all(line.startswith(" " * 17) for line in lines) and max(map(len, lines)) <= 60


def test_images_are_named() -> None:
    asked = Message("user", (TextPart("look"), ImagePart("image/png", sha256="abcdef0123456789")))
    assert "[image/png abcdef012345]" in next(render_trace([ModelCall(at=0.0, model="m", messages=(asked,))]))


def test_json_holds_every_event_and_prints_safely() -> None:
    rows = to_json([*TRACE, Note(at=1.0, text="\x1b[31m\x9b\u202e", data={"nan": math.nan, "inf": -math.inf})])
    text = json.dumps(rows, allow_nan=False)
    assert text.isascii() and text.isprintable()
    assert [(row["step"], row["type"]) for row in rows[:2]] == [(1, "sandbox_start"), (2, "model_retry")]
    assert json.loads(text)[-1]["data"] == {"nan": None, "inf": "-inf"}
    assert to_json([StoredEvent(7, TRACE[0])])[0]["step"] == 8
