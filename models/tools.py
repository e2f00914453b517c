"""`@tool`: a typed Python function that a model may call.

    @tool
    async def lookup(city: str, days: int = 1, *, weather: Weather) -> str:
        '''Look up the weather of a city.

        Args:
            city: Its name.
            days: How many days ahead.
        '''
        return await weather.forecast(city, days)

What stands before `*` is told to the model, with types and descriptions; what stands after it are *resources* that the
scaffold hands in by name (a sandbox, a shell, a client) and that no model sees. Importing this module is cheap.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, overload

import msgspec

from agentlab.models.tool_schema import Schema, Signature, build_schema, explain, read_signature
from agentlab.traces.events import ImagePart, ToolCall, ToolResult, ToolSpec

MAX_OUTPUT = 16_384
"""Characters of a result that go back to the model unless said otherwise."""

_REGISTRY: dict[str, Tool] = {}


class Tool:
    """A function that a model may call. Calling the object itself calls the plain function."""

    def __init__(self, function: Callable[..., Any], *, name: str = "", threaded: bool = False) -> None:
        if threaded and inspect.iscoroutinefunction(function):
            raise TypeError(f"tool {name or function.__name__!r} is async: it needs no thread")
        self.name = name or function.__name__
        self._function = function
        self._threaded = threaded
        self._signature: Signature = read_signature(function, self.name)
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name}>"

    @property
    def spec(self) -> ToolSpec:
        """What a model is told. Raises TypeError where a type hint cannot be told."""
        return self._schema.spec

    @property
    def origin(self) -> str:
        """Module and name of the function."""
        return f"{self._function.__module__}.{self._function.__qualname__}"

    @property
    def resources(self) -> frozenset[str]:
        """Names of what the scaffold must hand in."""
        return self._signature.resources

    @functools.cached_property
    def _schema(self) -> Schema:
        return build_schema(self._function, self.name, self._signature)

    async def call(
        self,
        arguments: Mapping[str, Any],
        resources: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        max_output: int = MAX_OUTPUT,
        reraise: tuple[type[Exception], ...] = (),
    ) -> ToolResult:
        """Check the arguments, run the function, and put what came of it into words for the model.

        Everything that goes wrong in the tool is a result with `error` set. Exceptions named in `reraise` are passed
        on (a sandbox that failed is no mistake of the model's), and so is a resource that was not handed in
        (LookupError). A plain function runs in the event loop and cannot be interrupted; `threaded=True` moves it to
        a thread, which a time-out leaves behind.
        """
        import anyio
        from pydantic import ValidationError

        handed = self._handed(resources or {})
        try:
            given = self._schema.adapter.validate_python(dict(arguments))
        except ValidationError as error:
            return ToolResult(f"[the arguments do not fit: {explain(error)}]", "bad_arguments")
        value: Any = None
        try:
            with anyio.move_on_after(timeout_s) as scope:
                value = await self._run({**given, **handed})
        except reraise:
            raise
        except Exception as error:  # noqa: BLE001  # the boundary: whatever a tool raises is an answer to the model
            return _fit(_tell(error), max_output, "failed")
        if scope.cancelled_caught:
            return ToolResult(f"[the tool did not finish within {timeout_s:g} s and was stopped]", "timeout")
        return as_result(value, max_output)

    def _handed(self, resources: Mapping[str, Any]) -> dict[str, Any]:
        missing = self._signature.resources - self._signature.optional_resources - resources.keys()
        if missing:
            raise LookupError(f"tool {self.name} needs {', '.join(sorted(missing))}, which nobody hands in")
        return {name: resources[name] for name in self._signature.resources if name in resources}

    async def _run(self, values: dict[str, Any]) -> Any:
        if self._threaded:
            import anyio.to_thread

            call = functools.partial(self._function, **values)
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
        value = self._function(**values)
        return await value if inspect.isawaitable(value) else value


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(*, name: str = "", register: bool = False, threaded: bool = False) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, name: str = "", register: bool = False, threaded: bool = False
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function. With `register=True` any harness finds it by name.

    Raises TypeError where docstring or type hints are missing, ValueError where another registered tool has the name.
    """

    def make(plain: Callable[..., Any]) -> Tool:
        made = Tool(plain, name=name, threaded=threaded)
        if register:
            _register(made)
        return made

    return make if function is None else make(function)


def get_tool(name: str) -> Tool:
    """The registered tool of that name. Raises KeyError."""
    return _REGISTRY[name]


async def call_tool(
    tools: Mapping[str, Tool],
    call: ToolCall,
    resources: Mapping[str, Any] | None = None,
    *,
    timeout_s: float | None = None,
    max_output: int = MAX_OUTPUT,
    reraise: tuple[type[Exception], ...] = (),
) -> ToolResult:
    """Carry out a model's call: an unknown tool and arguments that are no JSON object come back as results too."""
    found = tools.get(call.name)
    if found is None:
        names = ", ".join(tools) or "none"
        return ToolResult(f"[there is no tool {call.name!r}; the tools are: {names}]", "unknown_tool")
    if call.error:
        return ToolResult(f"[the arguments are no JSON object: {call.error}]", "bad_arguments")
    return await found.call(call.arguments, resources, timeout_s=timeout_s, max_output=max_output, reraise=reraise)


def as_result(value: Any, max_output: int = MAX_OUTPUT) -> ToolResult:
    """A tool's return value as a result: text as it is, images beside it, everything else as JSON, cut to size."""
    if isinstance(value, ToolResult):
        text, dropped = cut_middle(value.content, max_output)
        if not dropped:
            return value
        return msgspec.structs.replace(value, content=text, dropped_bytes=value.dropped_bytes + dropped)
    if value is None:
        return ToolResult("")
    if isinstance(value, ImagePart):
        return ToolResult("", images=(value,))
    if isinstance(value, str):
        return _fit(value, max_output)
    try:
        return _fit(msgspec.json.encode(value).decode(), max_output)
    except (TypeError, UnicodeEncodeError):
        return _fit(str(value), max_output)


def cut_middle(text: str, max_chars: int) -> tuple[str, int]:
    """`text` with its middle left out where it is longer than `max_chars`, and how many bytes (UTF-8) that was.

    Beginning and end stay, since errors stand in either; a line in brackets tells what was dropped, beyond `max_chars`.
    """
    if len(text) <= max_chars:
        return text, 0
    head = (max_chars + 1) // 2
    tail = max_chars - head
    middle = text[head : len(text) - tail]
    dropped = len(middle.encode("utf-8", "surrogatepass"))
    return f"{text[:head]}\n[{dropped} bytes of output were dropped here]\n{text[len(text) - tail :]}", dropped


def _fit(text: str, max_output: int, error: Any = "") -> ToolResult:
    shown, dropped = cut_middle(text, max_output)
    return ToolResult(shown, error, dropped)


def _tell(error: Exception) -> str:
    """An exception in one bracketed line. One of Python's own says little without its name."""
    told = " ".join(str(error).split())
    kind = type(error).__name__
    if not told:
        return f"[{kind}]"
    return f"[{kind}: {told}]" if type(error).__module__ == "builtins" else f"[{told}]"


def _register(made: Tool) -> None:
    held = _REGISTRY.get(made.name)
    # The same function may come twice: a file that is imported again.
    if held is not None and held.origin != made.origin:
        raise ValueError(f"a tool named {made.name!r} is registered already, by {held.origin}")
    _REGISTRY[made.name] = made
