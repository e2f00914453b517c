"""Harnesses: how a task is run. Presets are YAML files; any field can be set on the command line with `--set`."""

from __future__ import annotations

import difflib
import importlib.resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticSerializationError

from agentlab.models.protocol import Sampling
from agentlab.sandboxes.protocol import Limits
from agentlab.scaffolds.episode import AgentLimits
from agentlab.service.yaml_fields import ConfigError as ConfigError
from agentlab.service.yaml_fields import Loader, find, line_of, parse

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, fields: Any) -> Any:
        """Nothing, given to a text, a list or a group, means the empty one: `system:` is no system prompt."""
        if not isinstance(fields, dict):
            return fields
        nothing = {
            name for name, value in fields.items() if value is None and _may_be_empty(cls.model_fields.get(name))
        }
        return {name: value for name, value in fields.items() if name not in nothing}


def _may_be_empty(field: FieldInfo | None) -> bool:
    return field is not None and (field.default in ("", (), {}) or isinstance(field.default, BaseModel))


class SamplingConfig(_Strict):
    """How answers are drawn; what is not set is not sent. Fields that a task's protocol fixes lose to what is set
    here.
    """

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    max_tokens: int | None = Field(default=None, gt=0)
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    tool_choice: Literal["auto", "none", "required"] | None = None
    parallel_tool_calls: bool | None = None
    extra: dict[str, Any] = {}

    def beside(self, task: Sampling, explicit: tuple[str, ...]) -> Sampling:
        """Field by field: what the user said (`explicit`), else what the task's protocol fixes, else these settings."""
        mine = self.model_dump(exclude_none=True, exclude_defaults=True)
        default = Sampling()
        chosen = {}
        for name in Sampling.__struct_fields__:
            fixed = getattr(task, name)
            if name in mine and (name in explicit or fixed == getattr(default, name)):
                chosen[name] = mine[name]
            else:
                chosen[name] = fixed
        return Sampling(**chosen)


class AgentLimitsConfig(_Strict):
    """Limits of one attempt; see `AgentLimits`. `attempts` is how often a trial is tried when its sandbox fails."""

    turns: int | None = Field(default=50, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    time_s: float | None = Field(default=1800.0, gt=0)
    cost_usd: float | None = Field(default=None, gt=0)
    tool_timeout_s: float = Field(default=60.0, gt=0)
    tool_output: int = Field(default=16_384, gt=0)
    attempts: int = Field(default=3, gt=0)

    def agent(self) -> AgentLimits:
        return AgentLimits(**self.model_dump(exclude={"attempts"}))


class BoxConfig(_Strict):
    """Settings of the sandbox: which image where a task names none, and what one box may use."""

    image: str = "agentlab/python:latest"
    memory_mb: int = Field(default=512, gt=0)
    cpus: float = Field(default=1.0, gt=0)
    pids: int = Field(default=128, gt=0)
    workspace_mb: int = Field(default=256, gt=0)
    tmp_mb: int = Field(default=64, gt=0)
    network_mb: int = Field(default=1024, gt=0)
    """What a box with a network may send and receive together, before it is graded and again while it is."""
    reuse: bool = False
    """A box serves several trials, reset and verified between them, instead of one."""
    snapshots: int = Field(default=0, ge=0)
    """The workspace is kept before every so many turns of the agent, for forks to begin there; 0: never."""

    def limits(self) -> Limits:
        return Limits(**self.model_dump(exclude={"image", "reuse", "snapshots"}))

    def identity(self) -> dict[str, Any]:
        """What counts for what is measured; defaults are left out."""
        return self.model_dump(exclude_defaults=True, exclude={"snapshots"})


class ForeignConfig(_Strict):
    """How the tasks of others (Harbor directories) are treated; see `Terms`."""

    env: tuple[str, ...] = ()
    """Variables of this machine that such a task may read by `${NAME}`. No others are ever put in."""
    leave_running: bool = False
    """What the agent started runs on while it is tested; for tasks that test a service. Results carry a label."""
    restore_tools: bool = True
    """Where a verifier runs in the agent's box, programs that it runs on are first put back as in the image."""


class EndpointConfig(_Strict):
    """How an endpoint is spoken to. Nothing here is part of a run's identity."""

    timeout_s: float = Field(default=600.0, gt=0)
    connect_timeout_s: float = Field(default=10.0, gt=0)
    max_retries: int = Field(default=5, ge=0)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    stream: bool = False
    cache: str | None = None
    """File of the response cache; None: no cache."""
    prices: str | None = None
    """Price file; None: costs are not known."""
    api_key_env: str | None = None
    client: Literal["direct", "openai"] | None = None
    unlisted: bool = False
    """The model is asked for also where the endpoint does not list it: some gateways list a part of what they serve."""


class ModelConfig(_Strict):
    """What identifies the model beyond its name: all of it is part of a run's identity."""

    revision: str = ""
    adapter: str = ""
    chat_template: str = ""
    thinking: Literal["drop", "send"] = "drop"
    """Whether thinking of earlier turns is sent back. It is always kept in the trace and never scored."""


class Harness(_Strict):
    """How a task is run: scaffold, tools, system prompt, sampling, sandbox settings, limits, auxiliary models."""

    name: str
    scaffold: Literal["direct", "tools"] = "direct"
    contract: str = ""
    """Version of the tools contract that the preset keeps, for example `tools/1`; part of the identity."""
    model: str = ""
    """A model for runs that name none."""
    tools: tuple[str, ...] = ()
    system: str = ""
    sampling: SamplingConfig = SamplingConfig()
    explicit: tuple[str, ...] = ()
    """Sampling fields that the user set (in a harness file or by `--set`): they win over a task's protocol."""
    box: BoxConfig = BoxConfig()
    foreign: ForeignConfig = ForeignConfig()
    limits: AgentLimitsConfig = AgentLimitsConfig()
    identity: ModelConfig = ModelConfig()
    endpoint: EndpointConfig = EndpointConfig()
    judge: str = ""
    """The model that rubric scorers ask, written like `--model`."""


def load_harness(name: str, settings: tuple[str, ...] = ()) -> Harness:
    """A preset by name, or a YAML file by path, with `KEY=VALUE` settings laid over it.

    Raises ConfigError naming file, line and field.
    """
    where, text = _read(name)
    fields = parse(text, where)
    preset = {} if _is_file(name) else dict(fields.get("sampling") or {})
    if _is_file(name):
        _find_beside(Path(name).parent, fields)
    said = "contract" in fields and _is_file(name)
    for setting in settings:
        _apply(fields, setting)
        said = said or setting.partition("=")[0].strip() == "contract"
    fields["explicit"] = _explicit(fields.get("sampling"), preset, settings)
    return _under_contract(_validated(fields, where, text, settings), said)


def _find_beside(folder: Path, fields: dict[str, Any]) -> None:
    """Files that a harness file names lie where they lie for it, wherever the command is typed."""
    endpoint = fields.get("endpoint")
    if isinstance(endpoint, dict):
        for name in ("prices", "cache"):
            if isinstance(endpoint.get(name), str):
                endpoint[name] = str(folder / endpoint[name])
    if isinstance(fields.get("tools"), list):
        fields["tools"] = [
            str(folder / tool) if isinstance(tool, str) and "::" in tool else tool for tool in fields["tools"]
        ]


def _under_contract(harness: Harness, said: bool) -> Harness:
    """The harness, which bears the name of a tools contract only where it keeps it. A preset that was changed loses
    the name. Raises ConfigError where the user `said` the name.
    """
    if not harness.contract:
        return harness
    preset = next((fields for fields in map(_preset, preset_names()) if fields.get("contract") == harness.contract), {})
    if not preset:
        known = ", ".join(str(fields["contract"]) for fields in map(_preset, preset_names()) if "contract" in fields)
        raise ConfigError(f"contract: there is no contract {harness.contract!r}; there is {known}")
    if (harness.scaffold, harness.tools) == (preset["scaffold"], tuple(preset["tools"])):
        return harness
    if said:
        tools = ", ".join(preset["tools"])
        raise ConfigError(f"contract: the tools of {harness.contract} are {tools}, not those of this harness")
    return harness.model_copy(update={"contract": ""})


def _preset(name: str) -> dict[str, Any]:
    where, text = _read(name)
    return parse(text, where)


def with_settings(harness: Harness, settings: tuple[str, ...]) -> Harness:
    """A harness that was loaded before with further `KEY=VALUE` settings laid over it. Raises ConfigError."""
    fields = harness.model_dump(mode="json")
    unsaid = {name: value for name, value in fields["sampling"].items() if name not in harness.explicit}
    for setting in settings:
        _apply(fields, setting)
    fields["explicit"] = _explicit(fields["sampling"], unsaid, settings)
    return _validated(fields, f"harness {harness.name}", "", settings)


def _validated(fields: dict[str, Any], where: str, text: str, settings: tuple[str, ...]) -> Harness:
    try:
        harness = Harness.model_validate(fields)
        harness.model_dump_json()
    except ValidationError as error:
        raise ConfigError(_explain(error, where, text, settings)) from None
    except (UnicodeError, PydanticSerializationError):
        # Bytes of a command line that are no UTF-8 come as lone surrogates; an escape in YAML makes them too.
        raise ConfigError(f"{where}: a field holds bytes that are no text") from None
    return harness


def _explicit(sampling: Any, preset: dict[str, Any], settings: tuple[str, ...]) -> list[str]:
    """Sampling fields that are the user's own words: all but those that stand as the preset has them."""
    if not isinstance(sampling, dict):
        return []
    named = {setting.partition("=")[0].strip() for setting in settings}
    repeated = {key.split(".")[1] for key in named if key.startswith("sampling.")}
    return sorted(
        str(key)
        for key, value in sampling.items()
        if key in repeated or "sampling" in named or key not in preset or preset[key] != value
    )


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name


def preset_names() -> list[str]:
    folder = importlib.resources.files("agentlab.service") / "harnesses"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(name: str) -> tuple[str, str]:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such harness file")
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: this harness file cannot be read: {error}") from None
    presets = preset_names()
    if name not in presets:
        near = difflib.get_close_matches(name, presets, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(presets)}"
        raise ConfigError(f"unknown harness {name!r}; {hint}")
    resource = importlib.resources.files("agentlab.service") / "harnesses" / f"{name}.yaml"
    return f"harness {name}", resource.read_text(encoding="utf-8")


def _apply(fields: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {setting}: write KEY=VALUE, for example --set sampling.temperature=0.6")
    node = fields
    *parents, last = key.strip().split(".")
    for parent in parents:
        child = node[parent] = {} if node.get(parent) is None else node[parent]
        if not isinstance(child, dict):
            raise ConfigError(f"--set {setting}: {parent} has no fields of its own")
        node = child
    node[last] = _value(value, wants_text=_is_text([*parents, last]))


def _value(text: str, *, wants_text: bool) -> Any:
    """What stands behind `KEY=`, read as YAML. `a: b` stays the text that it looks like: a mapping has braces. A field
    that `wants_text` gets what was typed, whatever YAML takes it for.
    """
    try:
        value = yaml.load(text, Loader)  # noqa: S506  a safe loader
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    if wants_text:
        return value if isinstance(value, str | None) else text.strip()
    blocks = isinstance(value, dict | list) and text.lstrip()[:1] not in ("{", "[")
    return text if blocks else value


def _explain(error: ValidationError, where: str, text: str, settings: tuple[str, ...]) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    field = ".".join(path)
    keys = [setting.partition("=")[0].strip() for setting in settings]
    if any(field == key or field.startswith(f"{key}.") for key in keys):
        place = f"--set {field}"
    else:
        place = f"{where}:{line_of(text, path)}: {field}"
    if first["type"] == "extra_forbidden":
        inside = [f"{group}.{path[-1]}" for group in _fields_at([]) if path[-1] in _fields_at([group])]
        near = inside[:1] if len(path) == 1 else []
        near = near or difflib.get_close_matches(path[-1], _fields_at(path[:-1]), 1)
        return f"{place}: there is no such field" + (f"; did you mean {near[0]}?" if near else "")
    if first["type"] == "missing":
        return f"{place}: this field is required"
    said = first["msg"].replace("valid tuple", "list")  # what it is to Python is of no interest to who types it
    return f"{place}: {said[0].lower()}{said[1:]}, got {_shown(first['input'])}{_advice(first, text)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _advice(error: ErrorDetails, text: str) -> str:
    """What to type instead, where that is plain."""
    path = [str(part) for part in error["loc"]]
    if error["type"] == "string_type" and isinstance(error["input"], bool | int | float):
        _, node = find(text, path)
        return f'; a text needs quotes: {path[-1]}: "{node.value}"' if isinstance(node, yaml.ScalarNode) else ""
    if error["type"] == "tuple_type" and isinstance(error["input"], str | int | float):
        return f"; a list has brackets: [{str(error['input'])[:99]}]"
    return ""


def _fields_at(path: list[str]) -> list[str]:
    return list(getattr(_annotation(path), "model_fields", {}))


def _is_text(path: list[str]) -> bool:
    """Whether the field at `path` is a text."""
    return _annotation(path) in (str, str | None)


def _annotation(path: list[str]) -> Any:
    """The type of the field at `path`; None where there is no such field."""
    model: Any = Harness
    for part in path:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return None
        model = field.annotation
    return model
