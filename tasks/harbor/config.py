"""`task.toml` as data: schema 1.4, and what older tasks write instead. Says where a field is wrong, and which ones it
does not know.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agentlab.tasks.harbor.directory import read_text
from agentlab.tasks.types import TaskError

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4")
"""Those whose fields are known here; in any other the fields that are not known are named like everywhere."""
NetworkMode: TypeAlias = Literal["public", "no-network", "allowlist"]
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])I?B?", re.IGNORECASE)
_MEGABYTES = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class _Table(BaseModel):
    # What is not known is kept, so that it can be named: nothing of a task is dropped in silence.
    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class Network(_Table):
    """What may be reached. `network_mode` None: what the level above says."""

    network_mode: NetworkMode | None = None
    allowed_hosts: tuple[str, ...] | None = None

    @field_validator("allowed_hosts")
    @classmethod
    def _plain_hosts(cls, hosts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        cleaned = tuple(host.strip().lower().rstrip(".") for host in hosts or ())
        for host in cleaned:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is no host name: names only, no address, port or path")
        return None if hosts is None else cleaned

    @model_validator(mode="after")
    def _hosts_belong_to_a_list(self) -> Network:
        if self.allowed_hosts and self.network_mode not in (None, "allowlist"):
            raise ValueError("allowed_hosts is for network_mode = 'allowlist'")
        return self

    def policy(self, above: Policy) -> Policy:
        """The policy that holds here, given that of the level above."""
        if self.network_mode is None and not self.allowed_hosts:
            return above
        return (self.network_mode or "allowlist", self.allowed_hosts or ())


Policy: TypeAlias = tuple[NetworkMode, tuple[str, ...]]
"""A network mode and the hosts of an allow-list."""


class Healthcheck(_Table):
    command: str
    interval_sec: float = Field(default=5.0, ge=0)
    timeout_sec: float = Field(default=30.0, gt=0)
    start_period_sec: float = Field(default=0.0, ge=0)
    start_interval_sec: float = Field(default=5.0, ge=0)
    retries: int = Field(default=3, ge=1)


class Environment(Network):
    build_timeout_sec: float = Field(default=600.0, gt=0)
    docker_image: str | None = None
    os: Literal["linux", "windows"] = "linux"
    cpus: float | None = Field(default=None, gt=0)
    memory_mb: int | None = Field(default=None, gt=0)
    storage_mb: int | None = Field(default=None, gt=0)
    gpus: int | None = Field(default=None, ge=0)
    gpu_types: tuple[str, ...] | None = None
    tpu: dict[str, Any] | None = None
    mcp_servers: tuple[dict[str, Any], ...] = ()
    env: dict[str, str] = {}
    skills_dir: str | None = None
    healthcheck: Healthcheck | None = None
    workdir: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_spellings(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        found = dict(data)
        for old in ("memory", "storage"):
            if old in found:
                found.setdefault(f"{old}_mb", _megabytes(found.pop(old)))
        if "allow_internet" in found:
            allowed = found.pop("allow_internet")
            if not isinstance(allowed, bool):
                raise ValueError(f"allow_internet is true or false, got {allowed!r}")
            found.setdefault("network_mode", "public" if allowed else "no-network")
        return found


class Agent(Network):
    timeout_sec: float | None = Field(default=None, gt=0)
    user: str | int | None = None


class Collect(_Table):
    command: str
    service: str = "main"
    timeout_sec: float = Field(default=60.0, gt=0)
    user: str | int | None = None


class Verifier(Network):
    timeout_sec: float | None = Field(default=None, gt=0)
    """None: what the level above says, 600 at the top."""
    env: dict[str, str] = {}
    user: str | int | None = None
    environment_mode: Literal["shared", "separate"] | None = None
    environment: Environment | None = None
    collect: tuple[Collect, ...] = ()

    @model_validator(mode="after")
    def _one_place(self) -> Verifier:
        if self.environment_mode == "shared" and self.environment is not None:
            raise ValueError("environment_mode = 'shared' and an environment of its own exclude each other")
        return self


class Artifact(_Table):
    source: str
    destination: str | None = None
    exclude: tuple[str, ...] = ()
    service: str | None = None

    @field_validator("source", "destination")
    @classmethod
    def _stays_inside(cls, path: str | None) -> str | None:
        if path is not None and (".." in path.split("/") or "\0" in path):
            raise ValueError(f"{path!r} must not go up")
        return path


class Solution(_Table):
    env: dict[str, str] = {}


class Step(_Table):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    agent: Agent = Agent()
    verifier: Verifier = Verifier()
    min_reward: float | dict[str, float] | None = None
    healthcheck: Healthcheck | None = None
    artifacts: tuple[Artifact, ...] = ()

    @field_validator("artifacts", mode="before")
    @classmethod
    def _short_artifacts(cls, value: Any) -> Any:
        return _artifacts(value)


class Config(_Table):
    """A whole `task.toml`."""

    schema_version: str = "1.4"
    task: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}
    verifier: Verifier = Verifier()
    agent: Agent = Agent()
    environment: Environment = Environment()
    solution: Solution = Solution()
    source: str | None = None
    multi_step_reward_strategy: Literal["mean", "final"] | None = None
    steps: tuple[Step, ...] = ()
    artifacts: tuple[Artifact, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _older_spellings(cls, data: Any) -> Any:
        if isinstance(data, dict) and "version" in data:
            data = {**data, "schema_version": str(data.get("schema_version", data["version"]))}
            del data["version"]
        return data

    @field_validator("artifacts", mode="before")
    @classmethod
    def _short_artifacts(cls, value: Any) -> Any:
        return _artifacts(value)

    @property
    def name(self) -> str:
        """`org/name` of the package, empty where it has none."""
        return str((self.task or {}).get("name", ""))


def _megabytes(text: Any) -> int:
    matched = _SIZE.fullmatch(str(text).strip())
    if not matched:
        raise ValueError(f"{text!r} is no size; write 512M or 2G")
    return max(1, int(float(matched[1]) * _MEGABYTES[matched[2].upper()]))


def _artifacts(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [{"source": entry} if isinstance(entry, str) else entry for entry in value]
    return value


def load_config(path: Path) -> Config:
    """The configuration in `path`. Raises TaskError naming file, line and field."""
    text = read_text(path)
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise TaskError(f"this is not TOML: {error}", where=f"{path}:{line[1] if line else 1}") from None
    except RecursionError:
        raise TaskError("its tables are nested too deeply", where=str(path)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        keys = [str(key) for key in first["loc"]]
        reason = str(first["msg"]).removeprefix("Value error, ")
        raise TaskError(f"{'.'.join(keys)}: {reason}", where=f"{path}:{_line_of(text, keys)}") from None


def _line_of(text: str, keys: list[str]) -> int:
    """The line of a field: that of its key below the headings of its tables, else of the last heading found."""
    names = [key for key in keys if not key.isdigit()]
    lines, at = text.splitlines(), 0
    for name in names:
        for number in range(at, len(lines)):
            line = lines[number].strip()
            heading = line.strip("[]").split(".") if line.startswith("[") else []
            if name in [part.strip().strip("\"'") for part in heading] or re.match(rf"[\"']?{re.escape(name)}\b", line):
                at = number
                break
    return at + 1


def unknown_fields(config: Config) -> Iterator[str]:
    """Dotted names of fields that the format does not have."""
    yield from _extra(config, "")


def _extra(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (path + name for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from _extra(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, tuple):
        for index, entry in enumerate(value):
            yield from _extra(entry, f"{path.rstrip('.')}[{index}].")
