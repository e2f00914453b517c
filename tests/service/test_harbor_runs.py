"""Other people's task directories, run unchanged in real boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint, chat
from harbor_directories import IMAGE, QUIET, VERIFY, failure_of, harbor_task, playing, value_of, write

from agentlab.service.harness import ConfigError
from agentlab.traces.events import Artifact, ErrorRaised, NetworkAccess, SandboxExec, SandboxStart, ToolCallEvent

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]


async def test_the_reference_earns_all_and_doing_nothing_earns_none(harbor: Any, tmp_path: Path) -> None:
    task = harbor_task(tmp_path / "words")
    assert await value_of(harbor, task) == 1.0
    assert await value_of(harbor, task, model="nop") == 0.0


async def test_a_model_works_as_root_in_the_tasks_own_directory(
    harbor: Any, tmp_path: Path, endpoint: Endpoint
) -> None:
    endpoint.behave = playing("id -un; pwd", "echo right > answer.txt")
    ran = await harbor(harbor_task(tmp_path / "words"), model=endpoint.spec())
    assert ran.rows["words"].value == 1.0
    assert [(label.name, label.value) for label in ran.reader.labels(1)] == [("verifier", "same_box")]
    first = ran.events("words", ToolCallEvent)[0]
    assert first.result.content.startswith("root\n/app\n")
    asked = endpoint.bodies[0]["messages"][-1]["content"]
    assert asked.startswith("Write the word right into answer.txt.") and "directory in which the shell starts" in asked


async def test_a_folder_of_tasks_is_one_task_with_a_sample_each(harbor: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    harbor_task(folder / "one")
    harbor_task(folder / "two", solve="echo wrong > /app/answer.txt")
    write(folder, {"README.md": "not a task", "notes/readme.md": "neither"})
    ran = await harbor(folder)
    assert {name: row.value for name, row in ran.rows.items()} == {"one": 1.0, "two": 0.0}
    assert ran.task("bench")["n"] == 2


async def test_what_cannot_be_read_is_that_samples_error_and_no_other(harbor: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    harbor_task(folder / "good")
    harbor_task(folder / "gpu", toml=QUIET + "gpus = 1\n")
    harbor_task(folder / "torn", toml="[environment\n")
    harbor_task(folder / "windows", toml=QUIET + 'os = "windows"\n')
    ran = await harbor(folder)
    assert {name: row.outcome for name, row in ran.rows.items()} == {
        "good": "scored",
        "gpu": "task",
        "torn": "task",
        "windows": "task",
    }
    said = {name: row.error_message for name, row in ran.rows.items()}
    assert "environment.gpus = 1" in said["gpu"] and "gpu/task.toml" in said["gpu"]
    assert "torn/task.toml:" in said["torn"] and "not TOML" in said["torn"]
    assert "environment.os = 'windows'" in said["windows"]


async def test_a_single_task_that_cannot_be_read_is_refused_with_file_and_line(harbor: Any, tmp_path: Path) -> None:
    task = harbor_task(tmp_path / "bad", toml="[environment]\ncpus = 0\n")
    with pytest.raises(ConfigError, match=r"bad/task\.toml:3: environment\.cpus"):
        await harbor(task)


async def test_a_folder_without_tasks_is_said_to_be_none(harbor: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no task in Harbor's format"):
        await harbor(tmp_path)


NOTHING_YET = """
ls -d /tests /solution /logs/verifier 2>/dev/null > /app/seen.txt
ls -d /logs/agent /logs/artifacts >> /app/seen.txt
"""


async def test_tests_and_verdict_appear_only_after_the_agent(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = playing(NOTHING_YET)
    test = """
        if [ "$(cat /app/seen.txt | tr '\\n' ' ')" = "/logs/agent /logs/artifacts " ] && [ -f /tests/extra.txt ]
        then echo 1; else echo 0; fi > /logs/verifier/reward.txt
    """
    task = harbor_task(tmp_path / "late", test=test, files={"tests/extra.txt": "beside the script"})
    assert await value_of(harbor, task, model=endpoint.spec()) == 1.0


async def test_nothing_of_the_agent_runs_while_it_is_tested(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = playing("setsid nohup sleep 1000 >/dev/null 2>&1 & sleep 1000 &")
    test = "ps ax | grep -v grep | grep -q 'sleep 1000'; echo $(($? != 0)) > /logs/verifier/reward.txt"
    assert await value_of(harbor, harbor_task(tmp_path / "quiet", test=test), model=endpoint.spec()) == 1.0


SERVICE = """
setsid nohup python3 -m http.server 8123 --bind 127.0.0.1 >/dev/null 2>&1 &
until python3 -c "import socket; socket.create_connection(('127.0.0.1', 8123))" 2>/dev/null; do :; done
"""
ASK = """python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8123/', timeout=5).status)" """
ASK_SERVICE = f"{ASK}; echo $(($? == 0)) > /logs/verifier/reward.txt"


async def test_a_service_runs_on_only_where_the_run_says_so_and_a_label_tells(
    harbor: Any, tmp_path: Path, endpoint: Endpoint
) -> None:
    endpoint.behave = playing(SERVICE)
    task = harbor_task(tmp_path / "service", test=ASK_SERVICE)
    assert await value_of(harbor, task, model=endpoint.spec()) == 0.0
    ran = await harbor(task, model=endpoint.spec(), settings=("foreign.leave_running=true",))
    assert ran.rows["service"].value == 1.0
    assert {(label.name, label.value) for label in ran.reader.labels()} == {
        ("verifier", "same_box"),
        ("agent_processes", "left_running"),
    }


REWARDS = {
    "json before text": ('echo \'{"reward": 0.5, "speed": 2}\' > r.json; echo 1 > r.txt', 0.5),
    "text": ("echo 0.25 > r.txt", 0.25),
    "mean without reward": ('echo \'{"a": 1, "b": 0}\' > r.json', 0.5),
    "exit code means nothing": ("echo 1 > r.txt; exit 3", 1.0),
}


@pytest.mark.parametrize("name", REWARDS)
async def test_rewards(harbor: Any, tmp_path: Path, name: str) -> None:
    body, value = REWARDS[name]
    body = body.replace("r.json", "/logs/verifier/reward.json").replace("r.txt", "/logs/verifier/reward.txt")
    assert await value_of(harbor, harbor_task(tmp_path / "rewards", test=body)) == value


BROKEN = {
    "nothing": ("exit 0", "RewardMissingError"),
    "empty": (": > /logs/verifier/reward.txt", "RewardEmptyError"),
    "words": ("echo good > /logs/verifier/reward.txt", "RewardInvalidError"),
    "not finite": ("echo nan > /logs/verifier/reward.txt", "RewardInvalidError"),
    "text in json": ('echo \'{"reward": "1"}\' > /logs/verifier/reward.json', "RewardInvalidError"),
    "infinite in json": ("echo '{\"reward\": Infinity}' > /logs/verifier/reward.json", "RewardInvalidError"),
    "a link": ("echo 1 > /tmp/r; ln -s /tmp/r /logs/verifier/reward.txt", "RewardInvalidError"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_verifier_without_a_verdict_is_its_own_error_and_never_a_0(
    harbor: Any, tmp_path: Path, name: str
) -> None:
    body, kind = BROKEN[name]
    outcome, found, _ = await failure_of(harbor, harbor_task(tmp_path / "broken", test=body))
    assert (outcome, found) == ("verifier", kind)


async def test_a_verifier_that_takes_too_long(harbor: Any, tmp_path: Path) -> None:
    task = harbor_task(tmp_path / "slow", toml=QUIET + "[verifier]\ntimeout_sec = 1\n", test="sleep 100")
    outcome, kind, message = await failure_of(harbor, task)
    assert (outcome, kind) == ("verifier", "VerifierTimeoutError") and "after 1 s" in message


async def test_accounts_variables_and_the_verifiers_own(harbor: Any, tmp_path: Path) -> None:
    toml = f"""
        [agent]
        user = "nobody"
        [verifier]
        env = {{ SECRET = "for the verifier" }}
        [solution.env]
        HINT = "of the solution"
        {QUIET}
        env = {{ COLOUR = "green", GIVEN = "${{NOT_GIVEN:-a default}}" }}
    """
    solve = 'echo "$(id -un) $COLOUR $GIVEN $HINT $SECRET" > /tmp/agent.txt'
    test = """
        echo "$(id -un) $COLOUR $SECRET $HINT" > /tmp/verifier.txt
        grep -qx 'nobody green a default of the solution ' /tmp/agent.txt &&
            grep -qx 'root green for the verifier ' /tmp/verifier.txt &&
            echo 1 > /logs/verifier/reward.txt
    """
    toml = "\n".join(line.strip() for line in toml.splitlines())
    assert await value_of(harbor, harbor_task(tmp_path / "accounts", toml=toml, test=test, solve=solve)) == 1.0


async def test_a_verifier_without_rights_finds_its_tests_and_can_tell_its_reward(harbor: Any, tmp_path: Path) -> None:
    test = "[ $(id -un) = nobody ] && touch /logs/verifier/mine && " + VERIFY.strip()
    task = harbor_task(tmp_path / "modest", toml=QUIET + '[verifier]\nuser = "nobody"\n', test=test)
    assert await value_of(harbor, task) == 1.0


async def test_variables_of_this_machine_are_given_by_name_only(
    harbor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARBOR_TEST_KEY", "a key")
    toml = QUIET + 'env = { KEY = "${HARBOR_TEST_KEY}" }\n'
    task = harbor_task(tmp_path / "keys", toml=toml, solve='[ "$KEY" = "a key" ] && echo right > /app/answer.txt')
    outcome, _, message = await failure_of(harbor, task)
    assert outcome == "task" and "foreign.env=[HARBOR_TEST_KEY]" in message
    assert await value_of(harbor, task, settings=("foreign.env=[HARBOR_TEST_KEY]",)) == 1.0


async def test_a_network_is_given_only_where_the_run_allows_it(harbor: Any, tmp_path: Path) -> None:
    silent = harbor_task(tmp_path / "silent", toml=f'[environment]\ndocker_image = "{IMAGE}"\n')
    by_name = QUIET.replace("no-network", "allowlist") + 'allowed_hosts = ["a.org"]\n'
    listed = harbor_task(tmp_path / "listed", toml=by_name)
    outcome, _, message = await failure_of(harbor, silent)
    assert outcome == "task" and "the whole network" in message and "--allow-network" in message
    outcome, _, message = await failure_of(harbor, listed)
    assert outcome == "task" and "a.org" in message and "--allow-network" in message


async def test_a_writable_box_reaches_its_hosts_through_the_proxy_as_root_too(harbor: Any, tmp_path: Path) -> None:
    by_name = QUIET.replace("no-network", "allowlist") + 'allowed_hosts = ["a.example.invalid"]\n'
    ask = "python3 -c \"import urllib.request as u; u.urlopen('http://{}/')\" 2>&1 | grep -q '{}'"
    listed = ask.format("a.example.invalid", "could not be resolved")
    other = ask.format("b.example.invalid", "not on the list")
    task = harbor_task(tmp_path / "listed", toml=by_name, solve=f"{listed} && {other} && echo right > /app/answer.txt")
    ran = await harbor(task, allow_network=True)
    assert ran.rows["listed"].value == 1.0
    told = [(event.host, event.verdict) for event in ran.events("listed", NetworkAccess)]
    assert told == [("a.example.invalid", "failed"), ("b.example.invalid", "refused")]


HEALTHY = """
[environment.healthcheck]
command = "test -f /app/started || { touch /app/started; exit 1; }"
interval_sec = 0.01
retries = 2
"""


async def test_the_agent_waits_for_the_health_check(harbor: Any, tmp_path: Path) -> None:
    task = harbor_task(tmp_path / "healthy", toml=QUIET + HEALTHY)
    ran = await harbor(task)
    assert ran.rows["healthy"].value == 1.0
    codes = [event.exit_code for event in ran.events("healthy", SandboxExec) if "started" in event.argv[-1]]
    assert codes == [1, 0]


async def test_a_box_that_never_gets_healthy_is_the_tasks_error(harbor: Any, tmp_path: Path) -> None:
    never = HEALTHY.replace("test -f /app/started || { touch /app/started; exit 1; }", "echo no luck; false")
    outcome, _, message = await failure_of(harbor, harbor_task(tmp_path / "ill", toml=QUIET + never))
    assert outcome == "task" and "environment.healthcheck" in message and "no luck" in message


async def test_a_task_without_a_solution_has_no_reference(harbor: Any, tmp_path: Path) -> None:
    outcome, _, message = await failure_of(harbor, harbor_task(tmp_path / "unsolved", solve=None))
    assert outcome == "task" and "no solution/solve.sh" in message


SEPARATE = (
    """
artifacts = ["/app/answer.txt", { source = "/app/folder", exclude = ["*.tmp"] }]
[verifier]
environment_mode = "separate"
"""
    + QUIET
)


async def test_a_verifier_in_a_box_of_its_own_sees_artifacts_only(harbor: Any, tmp_path: Path) -> None:
    solve = """
        echo right > /app/answer.txt
        echo other > /app/other.txt
        mkdir -p /app/folder; echo kept > /app/folder/kept; echo left > /app/folder/left.tmp
        ln -s /etc/passwd /app/folder/passwd
        echo published > /logs/artifacts/published
        echo fake > /bin/cat
    """
    test = """
        right=$(cat /app/answer.txt /app/folder/kept /logs/artifacts/published | tr '\\n' ' ')
        [ "$right" = "right kept published " ] && [ ! -e /app/other.txt ] && [ ! -e /app/folder/left.tmp ] &&
            [ ! -e /app/folder/passwd ] && echo 1 > /logs/verifier/reward.txt
    """
    ran = await harbor(harbor_task(tmp_path / "apart", toml=SEPARATE, test=test, solve=solve))
    assert ran.rows["apart"].value == 1.0, ran.rows["apart"].error_message
    assert [event.purpose for event in ran.events("apart", SandboxStart)] == ["agent", "scorer"]
    assert not list(ran.reader.labels())


async def test_an_answer_that_is_a_link_into_the_tests_is_no_answer(harbor: Any, tmp_path: Path) -> None:
    test = "cmp -s /app/answer.txt /tests/expected; echo $((1 - ($? != 0))) > /logs/verifier/reward.txt"
    files = {"tests/expected": "the secret\n"}
    task = harbor_task(
        tmp_path / "link", toml=SEPARATE, test=test, solve="ln -s /tests/expected /app/answer.txt", files=files
    )
    assert await value_of(harbor, task) == 0.0


async def test_a_verifier_image_of_its_own_brings_its_tests(harbor: Any, tmp_path: Path) -> None:
    toml = (
        """
        artifacts = ["/app/answer.txt"]
        [verifier.environment]
        network_mode = "no-network"
        memory_mb = 256
    """
        + QUIET
    )
    toml = "\n".join(line.strip() for line in toml.splitlines())
    dockerfile = f"FROM {IMAGE}\nCOPY test.sh /tests/test.sh\nRUN echo only-here > /grader\n"
    test = 'grep -q only-here /grader && [ "$(cat /app/answer.txt)" = right ] && echo 1 > /logs/verifier/reward.txt'
    task = harbor_task(tmp_path / "own", toml=toml, test=test, files={"tests/Dockerfile": dockerfile})
    assert await value_of(harbor, task) == 1.0


async def test_collect_hooks_run_while_the_agent_still_does(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = playing(SERVICE)
    toml = f"""
artifacts = ["/app/answer.txt"]
{QUIET}
[verifier]
environment_mode = "separate"
[[verifier.collect]]
command = '''{ASK} > /app/answer.txt'''
"""
    test = "grep -q 200 /app/answer.txt; echo $((1 - $?)) > /logs/verifier/reward.txt"
    assert await value_of(harbor, harbor_task(tmp_path / "hooks", toml=toml, test=test), model=endpoint.spec()) == 1.0


async def test_artifacts_and_the_verifiers_words_are_kept(harbor: Any, tmp_path: Path) -> None:
    test = "echo the verifier speaks; " + VERIFY
    task = harbor_task(tmp_path / "kept", toml='artifacts = ["answer.txt"]\n' + QUIET, test=test)
    ran = await harbor(task)
    kept = {event.name: event.sha256 for event in ran.events("kept", Artifact)}
    assert set(kept) == {"app/answer.txt", "test-stdout.txt"}
    assert ran.reader.artifact(kept["app/answer.txt"]) == b"right\n"
    assert ran.reader.artifact(kept["test-stdout.txt"]) == b"the verifier speaks\n"


async def test_the_agents_time_is_the_tasks(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = playing("echo right > answer.txt", "sleep 100")
    ran = await harbor(
        harbor_task(tmp_path / "timed", toml=QUIET + "[agent]\ntimeout_sec = 4\n"), model=endpoint.spec()
    )
    row = ran.rows["timed"]
    assert (row.value, row.flags) == (1.0, ("time_limit",))


async def test_the_direct_scaffold_has_no_box_to_work_in(run: Any, tmp_path: Path) -> None:
    ran = await run(str(harbor_task(tmp_path / "words")), model="nop", harness="direct")
    (error,) = ran.events("words", ErrorRaised)
    assert error.boundary == "task" and "--harness tools" in error.message


async def test_a_message_without_a_tool_call_is_graded_too(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("I would rather not.")
    assert await value_of(harbor, harbor_task(tmp_path / "talk"), model=endpoint.spec()) == 0.0


async def test_a_test_script_without_a_first_line_is_bashs(harbor: Any, tmp_path: Path) -> None:
    task = harbor_task(
        tmp_path / "plain", test=None, files={"tests/test.sh": "[[ -f /app/answer.txt ]] && " + VERIFY.strip()}
    )
    assert await value_of(harbor, task) == 1.0
