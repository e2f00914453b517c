"""Reading answers: thinking, tool calls, stop reasons, errors inside bodies."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from endpoints import calling, chat
from hypothesis import given
from hypothesis import strategies as st

from agentlab.models.protocol import ModelError
from agentlab.models.replies import error_text, parse_tool_call, read_chat, split_reasoning
from agentlab.traces.events import ToolCall


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("<think>so</think>42", "so", "42"),
        ("\n<think>\nso\n</think>\n\n42", "so", "42"),
        ("so it is</think>42", "so it is", "42"),
        ("<think>so it", "so it", ""),
        ("<think></think>42", "", "42"),
        ("<think>a</think><think>b</think>42", "a\n\nb", "42"),
        ("42", "", "42"),
        ("  42 ", "", "  42 "),
        ("write <think>x</think> in your prompt", "", "write <think>x</think> in your prompt"),
        ("", "", ""),
    ],
)
def test_inline_thinking_is_split_from_the_answer(text: str, reasoning: str, answer: str) -> None:
    assert split_reasoning(text) == (reasoning, answer)
    message = read_chat(json.dumps(chat(text)).encode()).message
    assert (message.reasoning, message.text) == (reasoning, answer)
    assert read_chat(json.dumps(chat(text)).encode(), split_thinking=False).message.text == text


@pytest.mark.parametrize("block", ["<think></think>", "<think>a</think> ", "</think>", "<think>", " "])
def test_thinking_is_split_in_linear_time(block: str) -> None:
    """A hundred thousand empty blocks took minutes, in which no other trial went on."""
    started = time.process_time()
    split_reasoning(block * 200_000 + "</think>42")
    assert time.process_time() - started < 2


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_that_the_server_split_stays_as_it_is(field: str) -> None:
    message = read_chat(json.dumps(chat("a</think>b", **{field: "so"})).encode()).message
    assert (message.reasoning, message.text) == ("so", "a</think>b")


@pytest.mark.parametrize(
    ("finish", "stop_reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("invented", "unknown"),
        (None, "unknown"),
    ],
)
def test_stop_reasons(finish: Any, stop_reason: str) -> None:
    assert read_chat(json.dumps(chat("x", finish=finish)).encode()).stop_reason == stop_reason


@pytest.mark.parametrize(
    ("arguments", "parsed", "error"),
    [
        ('{"a": 1}', {"a": 1}, ""),
        ("", {}, ""),
        (None, {}, ""),
        ({"a": 1}, {"a": 1}, ""),
        ("null", {}, "a number or null instead of an object"),
        ('"x"', {}, "a string instead of an object"),
        ("[" * 100_000, {}, "malformed JSON"),
        (r'{"a": "x\ud800"}', {"a": "x\ufffd"}, ""),
        (r'{"\udc00": 1}', {"\ufffd": 1}, ""),
        (r'{"a": "\ud800', {}, "malformed JSON"),
    ],
)
def test_arguments_of_every_kind(arguments: Any, parsed: dict[str, Any], error: str) -> None:
    call = parse_tool_call("1", "f", arguments)
    assert call.arguments == parsed
    assert error in call.error and bool(error) == bool(call.error)


@given(st.text())
def test_arguments_never_raise(arguments: str) -> None:
    call = parse_tool_call("1", "f", arguments)
    assert call.error or isinstance(call.arguments, dict)
    assert not call.error or call.raw == arguments


def test_calls_without_id_or_name_are_still_calls() -> None:
    answer = calling({"function": {"name": "f", "arguments": "{}"}}, {"id": "b", "function": {"arguments": "{}"}}, {})
    calls = read_chat(json.dumps(answer).encode()).message.tool_calls
    assert calls[0] == ToolCall(id="call_0", name="f")
    assert calls[1].error == calls[2].error == "the call names no function"


def test_null_content_is_an_empty_answer_and_a_refusal_is_its_text() -> None:
    assert read_chat(json.dumps(chat(None)).encode()).message.text == ""
    assert read_chat(json.dumps(chat(None, refusal="I will not")).encode()).message.text == "I will not"


def test_content_in_parts_is_joined() -> None:
    parts: Any = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "odd"}]
    assert read_chat(json.dumps(chat(parts)).encode()).message.text == "ab"


def test_an_error_body_becomes_one_clean_line() -> None:
    assert error_text(b'{"error": {"message": "no\\nsuch  \\u001b[31mmodel"}}') == "no such [31mmodel"
    assert error_text(b'{"detail": "Not Found"}') == "Not Found"
    assert error_text(b'{"detail": [{"loc": ["body"]}]}') == '[{"loc":["body"]}]'
    assert len(error_text(b"<html>" + b"x" * 5000)) == 300
    assert error_text(b"key sk-1", secrets=("sk-1", "")) == "key ***"


@pytest.mark.parametrize("count", [2**63, 2**63 - 1, 10**9 + 1, -1, 10**400, "7", 1.5])
@pytest.mark.parametrize("field", ["prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"])
def test_impossible_token_counts_are_a_bad_response(field: str, count: Any) -> None:
    kept = {"cached_tokens": "prompt_tokens_details", "reasoning_tokens": "completion_tokens_details"}.get(field)
    usage = {kept: {field: count}} if kept else {field: count}
    with pytest.raises(ModelError, match=field) as caught:
        read_chat(json.dumps(chat("x") | {"usage": usage}).encode())
    assert caught.value.kind == "bad_response" and not caught.value.retryable and len(str(caught.value)) < 200


def test_half_a_surrogate_pair_is_replaced() -> None:
    body = json.dumps(chat("a\ud800b \U0001f600 \udc00")).encode()
    assert b"\\ud800" in body
    assert read_chat(body).message.text == "a\ufffdb \U0001f600 \ufffd"
    with pytest.raises(ModelError, match="no JSON"):
        read_chat(body[:-1])
    assert error_text(b'{"error": {"message": "no \\ud800 here"}}') == "no \ufffd here"
