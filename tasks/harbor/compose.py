"""`docker-compose.yaml` of a task: one service, read as data. What would reach beyond a box is refused, what cannot be
honoured is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from agentlab.tasks.harbor.directory import has_file, read_text
from agentlab.tasks.types import TaskError

NAMES = ("docker-compose.yaml", "docker-compose.yml", "compose.yaml", "compose.yml")
MAIN = "main"

HARMLESS = frozenset({"container_name", "hostname", "init", "tty", "stdin_open", "restart", "labels", "platform"})
"""Keys that change nothing for a task in a box of its own."""
HARBOR = {"${CONTEXT_DIR}": ".", "${TEST_DIR}": "/tests"}
"""What Harbor itself puts into a compose file."""
HARBOR_MOUNTS = ("${HOST_VERIFIER_LOGS_PATH}:", "${HOST_AGENT_LOGS_PATH}:", "${HOST_ARTIFACTS_PATH}:")
"""Harbor's own mounts of the log folders, which lie in the box here."""
HARBOR_LIMITS = {"resources": {"limits": {"cpus": "${CPUS}", "memory": "${MEMORY}"}}}
IDLE = (
    ["sh", "-c", "sleep infinity"],
    ["sleep", "infinity"],
    ["tail", "-f", "/dev/null"],
    "sleep infinity",
    "tail -f /dev/null",
)
"""Commands that keep a container alive, which a box does by itself."""


@dataclass(frozen=True, slots=True)
class Composed:
    """The `main` service: an image, or where it is built."""

    image: str = ""
    context: Path | None = None
    dockerfile: str = "Dockerfile"
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = ""


def load(folder: Path) -> Composed | None:
    """The compose file of `folder`, None without one. Raises TaskError for what is refused or cannot be honoured."""
    name = next((name for name in NAMES if has_file(folder, name)), None)
    if name is None:
        return None
    path = folder / name
    document = _parse(path)
    for problem in _reaching_out(document):
        raise TaskError(f"{problem}: it would reach out of the box, so the task is refused", where=str(path))
    services = document.get("services")
    if not isinstance(services, dict) or not isinstance(services.get(MAIN), dict):
        raise TaskError(f"there is no service {MAIN!r}", where=str(path))
    if len(services) > 1:
        others = ", ".join(sorted(str(name) for name in services if name != MAIN))
        raise TaskError(f"services.{others}: only the one service {MAIN!r} can be run", where=str(path))
    for key in document:
        if key not in ("services", "version", "name"):
            raise TaskError(f"{key}: this part of a compose file cannot be honoured", where=str(path))
    return _main(services[MAIN], folder, path)


def _parse(path: Path) -> dict[str, Any]:
    text = read_text(path)
    for variable, value in HARBOR.items():
        text = text.replace(variable, value)
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise TaskError(
                "aliases (*name) are not read: a few lines of them can stand for gigabytes", where=str(path)
            )
        document = yaml.safe_load(text)
    except RecursionError:
        raise TaskError("it is nested too deeply", where=str(path)) from None
    except yaml.YAMLError as error:
        raise TaskError(f"this is not YAML: {' '.join(str(error).split())}", where=str(path)) from None
    if not isinstance(document, dict):
        raise TaskError("a compose file is a mapping", where=str(path))
    return document


def _reaching_out(document: Mapping[str, Any]) -> Iterator[str]:
    """Where any service asks for the host: privilege, its files, its devices, its namespaces, the engine."""
    services = document.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        if isinstance(service, dict):
            yield from (f"services.{name}.{problem}" for problem in _of_service(service))
    volumes = document.get("volumes")
    for name, volume in volumes.items() if isinstance(volumes, dict) else ():
        if isinstance(volume, dict) and volume.get("driver_opts"):
            yield f"volumes.{name}.driver_opts"


def _of_service(service: Mapping[str, Any]) -> Iterator[str]:
    if service.get("privileged"):
        yield "privileged"
    for key in ("cap_add", "devices", "device_cgroup_rules", "security_opt", "cgroup_parent", "sysctls", "runtime"):
        if service.get(key):
            yield key
    for key in ("network_mode", "pid", "ipc", "uts", "userns_mode", "cgroup"):
        if str(service.get(key) or "").startswith(("host", "container:", "service:")):
            yield f"{key} = {service[key]}"
    for volume in _own_volumes(service):
        source = volume.get("source", "") if isinstance(volume, dict) else str(volume).partition(":")[0]
        bound = isinstance(volume, dict) and volume.get("type") in ("bind", "npipe")
        if bound or str(source).startswith(("/", ".", "~", "$")) or "docker.sock" in str(volume):
            yield f"volumes: {volume}"
    for key in ("extends", "env_file", "secrets", "configs", "volumes_from", "credential_spec"):
        if service.get(key):
            yield key


def _own_volumes(service: Mapping[str, Any]) -> list[Any]:
    volumes = service.get("volumes")
    held = volumes if isinstance(volumes, list) else [volumes] if volumes else []
    return [volume for volume in held if not str(volume)[:200].startswith(HARBOR_MOUNTS)]


def _main(service: Mapping[str, Any], folder: Path, path: Path) -> Composed:
    def refuse(problem: str) -> TaskError:
        return TaskError(f"services.{MAIN}.{problem}", where=str(path))

    known = {"image", "build", "environment", "working_dir", "command", *HARMLESS}
    for key in service:
        harbor = (key == "volumes" and not _own_volumes(service)) or (key, service[key]) == ("deploy", HARBOR_LIMITS)
        if key not in known and not harbor:
            raise refuse(f"{key}: this cannot be honoured")
    if service.get("command") is not None and service["command"] not in IDLE:
        raise refuse("command: only one that idles can be honoured, as the box keeps itself")
    build = service.get("build")
    context, dockerfile = None, "Dockerfile"
    if isinstance(build, str):
        context = _inside(folder, build, refuse)
    elif isinstance(build, dict):
        unknown = [key for key in build if key not in ("context", "dockerfile")]
        if unknown:
            raise refuse(f"build.{unknown[0]}: this cannot be honoured")
        context = _inside(folder, str(build.get("context") or "."), refuse)
        dockerfile = _below(str(build.get("dockerfile") or "Dockerfile"), refuse)
    # Where both are given, the image is the name that the built one gets.
    image = "" if context is not None else str(service.get("image") or "")
    if "${" in image:
        raise refuse("image: variables are not expanded here; name the image in task.toml")
    return Composed(image, context, dockerfile, _environment(service, refuse), str(service.get("working_dir") or ""))


def _inside(folder: Path, text: str, refuse: Any) -> Path:
    below = _below(text, refuse)
    return folder / below if below else folder


def _below(text: str, refuse: Any) -> str:
    parts = PurePosixPath(text).parts
    if text.startswith(("/", "~")) or "$" in text or ".." in parts:
        raise refuse(f"build: {text!r} is not below the task's own folder")
    return "/".join(part for part in parts if part != ".")


def _environment(service: Mapping[str, Any], refuse: Any) -> dict[str, str]:
    given = service.get("environment") or {}
    if isinstance(given, list):
        pairs = [str(entry).partition("=") for entry in given]
        if any(not equals for _, equals, _ in pairs):
            raise refuse("environment: a name without a value would be taken from this machine")
        return {name: value for name, _, value in pairs}
    if not isinstance(given, dict) or any(value is None for value in given.values()):
        raise refuse("environment: a name without a value would be taken from this machine")
    return {str(name): _scalar(value) for name, value in given.items()}


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
