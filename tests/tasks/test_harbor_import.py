"""Other people's task directories, read as data: what is taken, what is named, what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from harbor_directories import IMAGE, QUIET, harbor_task, write

from agentlab.tasks.harbor import import_tasks
from agentlab.tasks.identity import survey
from agentlab.tasks.registry import resolve
from agentlab.tasks.types import BoxNeeds, Task, TaskError


def needs_of(folder: Path) -> BoxNeeds:
    """The box of the only sample of a task directory."""
    task = import_tasks(folder)
    assert task.procedure is not None
    (sample,) = task.samples or ()
    return task.procedure.needs(sample)


def imported(path: Path) -> Task:
    resolution = resolve([str(path)])
    assert not resolution.errors, resolution.errors
    (task,) = resolution.tasks
    return task


OLD = f"""
version = "1.0"
[metadata]
author_name = "somebody"
[verifier]
timeout_sec = 120.0
[environment]
docker_image = "{IMAGE}"
memory = "2G"
storage = "10G"
cpus = 2
allow_internet = false
"""


def test_older_spellings_mean_what_the_new_ones_do(tmp_path: Path) -> None:
    new = f"""
        schema_version = "1.4"
        [verifier]
        timeout_sec = 120.0
        [environment]
        docker_image = "{IMAGE}"
        memory_mb = 2048
        storage_mb = 10240
        cpus = 2
        network_mode = "no-network"
    """
    folders = [harbor_task(tmp_path / name) for name in ("old", "new")]
    for folder, toml in zip(folders, (OLD, new), strict=True):
        (folder / "task.toml").write_text(toml)
    old, fresh = (needs_of(folder) for folder in folders)
    assert old == fresh
    assert old.limits is not None
    assert (old.limits.memory_mb, old.limits.storage_mb, old.limits.cpus, old.network) == (2048, 10240, 2.0, ())


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [("512M", 512), ("2G", 2048), ("1.5G", 1536), ("2GB", 2048), ("2Gi", 2048), ("1048576K", 1024)],
)
def test_sizes(tmp_path: Path, text: str, megabytes: int) -> None:
    needs = needs_of(harbor_task(tmp_path / "sized", toml=QUIET.replace("memory_mb = 256", f'memory = "{text}"')))
    assert needs.limits is not None and needs.limits.memory_mb == megabytes


WRONG = {
    "[environment]\ncpus = 0": (3, "environment.cpus"),
    "[environment]\nmemory = 'much'": (2, "environment: 'much' is no size"),
    "[agent]\ntimeout_sec = 'long'": (3, "agent.timeout_sec"),
    "[environment]\nnetwork_mode = 'some'": (3, "environment.network_mode"),
    "[environment]\nallowed_hosts = ['http://a.org']": (3, "no host name"),
    "[environment]\nnetwork_mode = 'public'\nallowed_hosts = ['a.org']": (2, "allowlist"),
    "artifacts = ['../x']": (2, "must not go up"),
    "[[steps]]\nname = '../up'": (3, "steps.0.name"),
    "[verifier]\nenvironment_mode = 'shared'\n[verifier.environment]\ncpus = 1": (2, "exclude each other"),
}


@pytest.mark.parametrize("toml", WRONG)
def test_what_is_wrong_is_said_with_file_line_and_field(tmp_path: Path, toml: str) -> None:
    line, words = WRONG[toml]
    folder = harbor_task(tmp_path / "wrong", toml=toml)
    with pytest.raises(TaskError) as raised:
        import_tasks(folder)
    assert f"wrong/task.toml:{line}: " in str(raised.value) and words in str(raised.value), str(raised.value)


UNSUPPORTED = {
    'os = "windows"': "environment.os = 'windows'",
    "gpus = 2": "environment.gpus = 2",
    'tpu = { type = "v6e", topology = "2x4" }': "environment.tpu",
    'mcp_servers = [{ name = "x", url = "http://x" }]': "environment.mcp_servers",
    'skills_dir = "/skills"': "environment.skills_dir",
    "[[verifier.collect]]\ncommand = 'x'\nservice = 'db'": "verifier.collect.service = 'db'",
    "[verifier]\nnetwork_mode = 'public'": "verifier.network_mode",
}


@pytest.mark.parametrize("line", UNSUPPORTED)
def test_what_cannot_be_honoured_is_named_with_its_field_and_file(tmp_path: Path, line: str) -> None:
    refusal = needs_of(harbor_task(tmp_path / "unusual", toml=QUIET + line + "\n")).refusal
    assert UNSUPPORTED[line] in refusal and str(tmp_path / "unusual") in refusal


def test_an_artifact_of_a_service_and_a_recorded_trajectory_are_named(tmp_path: Path) -> None:
    toml = 'artifacts = [{ source = "/x", service = "db" }]\n' + QUIET
    assert "artifacts.service = 'db'" in needs_of(harbor_task(tmp_path / "sidecar", toml=toml)).refusal
    recorded = harbor_task(tmp_path / "recorded", files={"trajectory.json": "{}"})
    assert "trajectory.json" in needs_of(recorded).refusal


def test_missing_tests_and_instructions_are_named(tmp_path: Path) -> None:
    assert "test.sh is missing" in needs_of(harbor_task(tmp_path / "untested", test=None)).refusal
    windows = harbor_task(tmp_path / "bat", test=None, files={"tests/test.bat": "exit"})
    assert "only a test.bat" in needs_of(windows).refusal
    folder = harbor_task(tmp_path / "unasked")
    (folder / "instruction.md").unlink()
    with pytest.raises(TaskError, match=r"instruction\.md: cannot be read: No such file"):
        import_tasks(folder)
    steps = harbor_task(tmp_path / "steps", toml=QUIET + "[[steps]]\nname = 'a'\n")
    with pytest.raises(TaskError, match=r"steps/a/instruction\.md"):
        import_tasks(steps)


def test_fields_that_nobody_knows_are_named_and_harm_nothing(tmp_path: Path) -> None:
    task = import_tasks(harbor_task(tmp_path / "odd", toml=QUIET + "memroy_mb = 5\n[agent]\nmood = 'good'\n"))
    assert [remark.partition("the field ")[2].split()[0] for remark in task.remarks] == [
        "agent.mood",
        "environment.memroy_mb",
    ]


def test_the_mark_against_training_is_not_shown(tmp_path: Path) -> None:
    marked = "<!-- BENCHMARK canary GUID 123 -->\n# canary 456\n\n# A heading\nDo it.\n"
    (sample,) = import_tasks(harbor_task(tmp_path / "marked", instruction=marked)).samples or ()
    assert sample.input == "# A heading\nDo it."


def test_any_change_in_the_directory_is_another_task(tmp_path: Path) -> None:
    folder = harbor_task(tmp_path / "same")
    first = survey(imported(folder)).identity.task_hash
    assert survey(imported(folder)).identity.task_hash == first
    (folder / "tests" / "data.txt").write_text("more")
    changed = survey(imported(folder)).identity.task_hash
    assert changed != first
    moved = harbor_task(tmp_path / "elsewhere" / "same", files={"tests/data.txt": "more"})
    assert survey(imported(moved)).identity.task_hash == changed


@pytest.mark.parametrize("place", ["tests/link", "environment/link", "solution/link", "deep/er/link"])
def test_links_are_refused(tmp_path: Path, place: str) -> None:
    folder = harbor_task(tmp_path / "linked")
    link = folder / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/etc/passwd")
    with pytest.raises(TaskError, match="is a link"):
        import_tasks(folder)


def test_an_instruction_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    folder = harbor_task(tmp_path / "linked")
    (folder / "instruction.md").unlink()
    (folder / "instruction.md").symlink_to("/etc/passwd")
    with pytest.raises(TaskError, match="cannot be read"):
        import_tasks(folder)
    (folder / "instruction.md").unlink()
    os.mkfifo(folder / "instruction.md")
    with pytest.raises(TaskError):
        import_tasks(folder)


COMPOSE = f"services:\n  main:\n    image: {IMAGE}\n"
REACHING_OUT = {
    "    privileged: true\n": "privileged",
    "    cap_add: [SYS_ADMIN]\n": "cap_add",
    "    volumes: ['/:/host']\n": "volumes",
    "    volumes: ['./x:/x']\n": "volumes",
    "    volumes: ['${HOME}:/x']\n": "volumes",
    "    volumes: [{type: bind, source: x, target: /x}]\n": "volumes",
    "    volumes: ['/var/run/docker.sock:/s']\n": "volumes",
    "    devices: ['/dev/kvm']\n": "devices",
    "    network_mode: host\n": "network_mode",
    "    pid: host\n": "pid",
    "    ipc: 'container:other'\n": "ipc",
    "    security_opt: ['seccomp:unconfined']\n": "security_opt",
    "    env_file: /etc/environment\n": "env_file",
}


@pytest.mark.parametrize("line", REACHING_OUT)
def test_compose_files_that_reach_out_of_the_box_are_refused(tmp_path: Path, line: str) -> None:
    refusal = composed(tmp_path, COMPOSE + line).refusal
    assert REACHING_OUT[line] in refusal and "refused" in refusal and "docker-compose.yaml" in refusal


def composed(tmp_path: Path, text: str, **files: str) -> BoxNeeds:
    toml = '[environment]\nnetwork_mode = "no-network"\n'
    return needs_of(
        harbor_task(tmp_path / "composed", toml=toml, files={"environment/docker-compose.yaml": text, **files})
    )


NOT_HONOURED = {
    COMPOSE + "  db:\n    image: postgres\n": "services.db",
    COMPOSE + "    command: ['run', 'me']\n": "services.main.command",
    COMPOSE + "    ports: ['80:80']\n": "services.main.ports",
    COMPOSE + "networks: {a: {}}\n": "networks",
    "services:\n  web:\n    image: x\n": "no service 'main'",
    "services:\n  main:\n    build: {context: ../..}\n": "not below the task's own folder",
    "services:\n  main:\n    build: {context: ., args: {A: b}}\n": "build.args",
    COMPOSE + "    environment: [TOKEN]\n": "taken from this machine",
    "a: &a [1]\nb: *a\n": "aliases",
}


@pytest.mark.parametrize("text", NOT_HONOURED)
def test_other_parts_of_compose_files_are_named(tmp_path: Path, text: str) -> None:
    assert NOT_HONOURED[text] in composed(tmp_path, text).refusal


HARBORS_OWN = """
services:
  main:
    build:
      context: ${CONTEXT_DIR}
    image: ${MAIN_IMAGE_NAME}
    command: ["sh", "-c", "sleep infinity"]
    environment:
      - TEST_DIR=${TEST_DIR}
      - SHADE=blue
    volumes:
      - ${HOST_VERIFIER_LOGS_PATH}:${ENV_VERIFIER_LOGS_PATH}
      - ${HOST_AGENT_LOGS_PATH}:${ENV_AGENT_LOGS_PATH}
    deploy:
      resources:
        limits:
          cpus: ${CPUS}
          memory: ${MEMORY}
"""


def test_what_harbor_itself_writes_into_a_compose_file_is_understood(tmp_path: Path) -> None:
    needs = composed(tmp_path, HARBORS_OWN, **{"environment/Dockerfile": "FROM scratch\n"})
    assert needs.refusal == ""
    assert needs.build is not None and Path(needs.build.context).name == "environment"
    assert dict(needs.env) == {"TEST_DIR": "/tests", "SHADE": "blue"}


def test_an_image_and_variables_of_a_compose_file(tmp_path: Path) -> None:
    needs = composed(tmp_path, COMPOSE + "    working_dir: /w\n    environment: {A: true, B: 2}\n    init: true\n")
    assert (needs.image, needs.build, needs.workdir, needs.env) == (IMAGE, None, "/w", (("A", "true"), ("B", "2")))


def test_a_bare_name_means_the_task_and_a_path_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harbor_task(tmp_path / "gsm8k")
    harbor_task(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {name: resolve([name]).tasks[0] for name in ("gsm8k", "./gsm8k", "mine")}
    assert found["gsm8k"].procedure is None
    assert found["./gsm8k"].procedure is not None
    assert found["mine"].procedure is not None


def test_what_is_no_task_directory_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"notes.txt": "x"})
    (nothing,) = resolve([str(tmp_path / "nowhere")]).errors
    (no_task,) = resolve([str(tmp_path)]).errors
    assert (nothing.kind, no_task.kind) == ("unknown", "unknown")
    assert "no such folder" in nothing.message and "no task.toml" in no_task.message


def test_documents_that_are_nested_without_end_are_refused(tmp_path: Path) -> None:
    folder = harbor_task(tmp_path / "deep", toml="a = " + "[" * 5000 + "]" * 5000 + "\n")
    with pytest.raises(TaskError, match=r"nested too deeply|not TOML"):
        import_tasks(folder)
    assert "nested too deeply" in composed(tmp_path, "a: " + "[" * 5000 + "]" * 5000).refusal


def test_a_long_line_of_marks_is_read_in_no_time(tmp_path: Path) -> None:
    marks = "<!-- " + "canary " * 100_000
    (sample,) = import_tasks(harbor_task(tmp_path / "long", instruction=marks)).samples or ()
    assert sample.input == marks
