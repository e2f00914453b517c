"""`@tool`: what a model is told, what it may send, and what comes back when something goes wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from agentlab.models.tools import Tool, as_result, call_tool, cut_middle, get_tool, tool
from agentlab.traces.events import ImagePart, ToolCall, ToolResult

if TYPE_CHECKING:
    from nowhere_to_be_found import Sandbox  # type: ignore[import-not-found]


class Point(BaseModel):
    x: int
    y: int = 0


@dataclass
class Size:
    width: int


class Options(TypedDict, total=False):
    deep: bool


@tool
async def search(
    query: str,
    limit: int = 5,
    kind: Literal["file", "text"] = "text",
    tags: list[str] | None = None,
    weights: Annotated[dict[str, float], "How much each field counts."] = {},  # noqa: B006  # never changed
    *,
    sandbox: Sandbox,
) -> str:
    """Search the workspace.
    Slow on large trees.

    Args:
        query: What to look for,
            in plain words.
        limit (int): How many hits.

    Returns:
        Hits, one a line.
    """
    return f"{query}|{limit}|{kind}|{tags}|{weights}|{sandbox}"


@tool
def place(point: Point, size: Size, options: Options, title: str = "") -> str:
    """Place a thing."""
    return f"{point.x + point.y} {size.width} {options} {title}"


def test_a_model_is_told_types_defaults_and_descriptions() -> None:
    assert search.spec.name == "search"
    assert search.spec.description == "Search the workspace. Slow on large trees."
    assert search.spec.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["query"],
        "properties": {
            "query": {"type": "string", "description": "What to look for, in plain words."},
            "limit": {"type": "integer", "description": "How many hits.", "default": 5},
            "kind": {"type": "string", "enum": ["file", "text"], "default": "text"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "weights": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "How much each field counts.",
                "default": {},
            },
        },
    }


def test_nested_types_are_written_out_without_references() -> None:
    properties = place.spec.parameters["properties"]
    assert properties["point"] == {
        "type": "object",
        "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 0}},
        "required": ["x"],
    }
    assert properties["title"] == {"type": "string", "default": ""}
    assert "$defs" not in place.spec.parameters


async def test_values_arrive_as_the_types_that_were_asked_for() -> None:
    given = {"point": {"x": 1, "y": 2}, "size": {"width": 3}, "options": {"deep": True}}
    assert (await place.call(given)).content == "3 3 {'deep': True} "


async def test_resources_are_handed_in_by_name_and_never_by_the_model() -> None:
    assert search.resources == {"sandbox"}
    result = await search.call({"query": "q"}, {"sandbox": "box", "other": 1})
    assert result == ToolResult("q|5|text|None|{}|box")
    forged = await search.call({"query": "q", "sandbox": "mine"}, {"sandbox": "box"})
    assert forged.error == "bad_arguments" and "there is no argument sandbox" in forged.content
    with pytest.raises(LookupError, match="needs sandbox"):
        await search.call({"query": "q"}, {})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "query is missing"),
        ({"query": "q", "limit": "many"}, "limit: input should be a valid integer"),
        ({"query": "q", "kind": "x"}, "kind: input should be 'file' or 'text'"),
        ({"query": "q", "tags": ["a", 1]}, "tags.1: input should be a valid string"),
        ({"query": "q", "depth": 1}, "there is no argument depth"),
    ],
)
async def test_wrong_arguments_come_back_in_words(arguments: dict[str, Any], told: str) -> None:
    result = await search.call(arguments, {"sandbox": "box"})
    assert result.error == "bad_arguments"
    assert told in result.content and result.content.startswith("[the arguments do not fit: ")


class GoneError(Exception):
    pass


@tool
async def failing(how: str) -> str:
    """Fail."""
    if how == "hang":
        await anyio.sleep_forever()
    long = RuntimeError("it broke:\n\n  in the middle\n")
    raise {"key": KeyError("x"), "own": GoneError("the disk is gone"), "bare": ValueError(), "long": long}[how]


async def test_what_goes_wrong_in_a_tool_is_told_to_the_model() -> None:
    assert await failing.call({"how": "key"}) == ToolResult("[KeyError: 'x']", "failed")
    assert await failing.call({"how": "own"}) == ToolResult("[the disk is gone]", "failed")
    assert await failing.call({"how": "bare"}) == ToolResult("[ValueError]", "failed")
    told = await failing.call({"how": "long"})
    assert told.content == "[RuntimeError: it broke: in the middle]", "one line, as the contract says"
    hung = await failing.call({"how": "hang"}, timeout_s=0.01)
    assert hung.error == "timeout" and "within 0.01 s" in hung.content


async def test_errors_of_the_place_are_passed_on() -> None:
    with pytest.raises(GoneError):
        await failing.call({"how": "own"}, reraise=(GoneError,))


async def test_unknown_tools_and_broken_arguments_name_the_way_out() -> None:
    tools = {"search": search, "place": place}
    unknown = await call_tool(tools, ToolCall(id="1", name="serach"))
    assert unknown.error == "unknown_tool" and "search, place" in unknown.content
    broken = await call_tool(tools, ToolCall(id="1", name="search", raw="{", error="malformed JSON: cut"))
    assert (
        broken.error == "bad_arguments" and broken.content == "[the arguments are no JSON object: malformed JSON: cut]"
    )


async def test_long_output_loses_its_middle_and_says_how_much() -> None:
    @tool
    def shout() -> str:
        """Shout."""
        return "a" * 60 + "é" * 20 + "z" * 60

    result = await shout.call({}, max_output=100)
    assert result.dropped_bytes == 60
    assert result.content == "a" * 50 + "\n[60 bytes of output were dropped here]\n" + "z" * 50
    assert cut_middle("abc", 3) == ("abc", 0)


async def test_a_plain_function_runs_in_a_thread_only_where_it_says_so() -> None:
    def where() -> str:
        """Tell the thread."""
        return threading.current_thread().name

    main = threading.current_thread().name
    assert (await Tool(where).call({})).content == main
    assert (await Tool(where, threaded=True).call({})).content != main


async def test_a_thread_that_hangs_is_left_behind() -> None:
    release = threading.Event()

    @tool(threaded=True)
    def stuck() -> str:
        """Wait."""
        release.wait()
        return ""

    result = await stuck.call({}, timeout_s=0.02)
    release.set()
    assert result.error == "timeout"


def test_return_values_become_text() -> None:
    image = ImagePart(media_type="image/png", data=b"x")
    assert as_result({"a": [1, None]}) == ToolResult('{"a":[1,null]}')
    assert as_result(None) == ToolResult("")
    assert as_result(image).images == (image,)
    assert as_result(ToolResult("long" * 10, "failed"), 10).dropped_bytes == 30


def test_what_cannot_be_told_to_a_model_is_refused_at_once() -> None:
    def undocumented(a: int) -> None: ...

    def untyped(a) -> None:  # type: ignore[no-untyped-def]
        """Do."""

    def starred(*a: int) -> None:
        """Do."""

    def misspelt(path: str) -> None:
        """Do.

        Args:
            paht: Where.
        """

    for function, told in [(undocumented, "docstring"), (untyped, "type hint"), (starred, "name"), (misspelt, "paht")]:
        with pytest.raises(TypeError, match=told):
            tool(function)


def test_a_type_without_json_schema_is_refused_when_it_is_shown() -> None:
    def lock(handle: threading.Thread) -> None:
        """Lock."""

    with pytest.raises(TypeError, match="cannot be told to a model"):
        _ = tool(lock).spec


def test_registered_tools_are_found_by_name_and_names_are_unique() -> None:
    @tool(register=True, name="test_only_lookup")
    def first() -> None:
        """Look up."""

    assert get_tool("test_only_lookup") is first
    with pytest.raises(ValueError, match="registered already"):

        @tool(register=True, name="test_only_lookup")
        def second() -> None:
            """Look up."""

    with pytest.raises(KeyError):
        get_tool("never_registered")


def test_a_tool_can_still_be_called_as_a_function() -> None:
    assert place(Point(x=1), Size(2), {}, title="t") == "1 2 {} t"


def test_importing_tools_and_options_loads_nothing_heavy() -> None:
    heavy = ("pydantic", "aiohttp", "openai", "anyio", "sqlite3", "yaml")
    modules = "agentlab.models.tools, agentlab.models.options, agentlab.models.resolve, agentlab.models.scripted"
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
