"""A run as a Harbor job directory: valid by Harbor's own schema, whatever became of its trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from endpoints import Endpoint, chat
from harbor_directories import QUIET, VERIFY, harbor_task, playing, script

from agentlab.traces.events import ImagePart, Message, ModelCall, ToolCall, ToolCallEvent, ToolResult, Usage
from agentlab.traces.harbor_job import export_job

SCHEMAS = Path(__file__).parent.parent / "schemas"


def check(document: Any, schema: str) -> None:
    held = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    jsonschema.validate(document, held, format_checker=jsonschema.FormatChecker())


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def exported(ran: Any, tmp_path: Path) -> dict[str, Path]:
    """The trials' folders by sample, all of them checked."""
    job = export_job(ran.reader, tmp_path / "jobs")
    assert {path.name for path in job.iterdir() if path.is_file()} == {"config.json", "lock.json", "result.json"}
    folders = {path.name.rpartition("__")[0]: path for path in job.iterdir() if path.is_dir()}
    for folder in folders.values():
        result = read(folder / "result.json")
        check(result, "harbor_trial_result.schema.json")
        assert read(folder / "config.json") == result["config"]
        trajectory = read(folder / "agent" / "trajectory.json")
        check(trajectory, "atif_v1.8.schema.json")
        assert [step["step_id"] for step in trajectory["steps"]] == list(range(1, len(trajectory["steps"]) + 1))
        assert (folder / "trial.log").read_text(encoding="utf-8").strip()
    return folders


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_a_harbor_run_comes_out_as_a_harbor_job(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    folder = tmp_path / "bench"
    kept = 'artifacts = ["answer.txt"]\n' + QUIET
    harbor_task(folder / "good", toml=kept, test="echo graded; " + VERIFY)
    harbor_task(folder / "mute", test="exit 0")
    harbor_task(folder / "gpu", toml=QUIET + "gpus = 1\n")
    endpoint.behave = playing("echo right > answer.txt")
    folders = exported(await harbor(folder, model=endpoint.spec()), tmp_path)
    results = {name: read(path / "result.json") for name, path in folders.items()}

    good, path = results["good"], folders["good"]
    assert good["verifier_result"] == {"rewards": {"reward": 1.0}}
    assert (good["task_name"], good["verifier_environment_mode"]) == ("bench/good", "shared")
    assert good["task_id"]["path"] == str(folder / "good")
    assert good["agent_execution"]["started_at"] >= good["environment_setup"]["finished_at"]
    assert read(path / "verifier" / "reward.json") == {"reward": 1.0}
    assert (path / "verifier" / "test-stdout.txt").read_text() == "graded\n"
    assert (path / "artifacts" / "app" / "answer.txt").read_text() == "right\n"
    turns = [step for step in read(path / "agent" / "trajectory.json")["steps"] if step["source"] == "agent"]
    assert turns[0]["tool_calls"][0]["arguments"] == {"command": "echo right > answer.txt"}
    assert turns[0]["observation"]["results"][0]["content"] == "[exit code 0]"

    assert results["mute"]["verifier_result"] is None
    assert results["mute"]["exception_info"]["exception_type"] == "verifier.RewardMissingError"
    assert "RewardMissingError" in (folders["mute"] / "exception.txt").read_text()
    assert results["gpu"]["exception_info"]["exception_type"] == "task.unroutable"
    assert "environment.gpus" in results["gpu"]["exception_info"]["exception_message"]


@pytest.mark.docker
@pytest.mark.usefixtures("docker")
async def test_steps_have_results_of_their_own(harbor: Any, tmp_path: Path) -> None:
    check_step = 'echo "{\\"reward\\": %s}" > /logs/verifier/reward.json'
    files = {
        f"steps/{name}/{path}": text
        for name, value in (("one", "0.5"), ("two", "1"))
        for path, text in {
            "instruction.md": "Do it.",
            "tests/test.sh": script(check_step % value),
            "solution/solve.sh": script("true"),
        }.items()
    }
    toml = '[[steps]]\nname = "one"\n[[steps]]\nname = "two"\n' + QUIET
    task = harbor_task(tmp_path / "steps", toml=toml, test=None, solve=None, files=files)
    folders = exported(await harbor(task), tmp_path)
    result = read(folders["steps"] / "result.json")
    assert result["verifier_result"] == {"rewards": {"reward": 0.75}}
    assert result["step_results"] == [
        {"step_name": "one", "verifier_result": {"rewards": {"reward": 0.5}}},
        {"step_name": "two", "verifier_result": {"rewards": {"reward": 1.0}}},
    ]
    (step, _) = read(folders["steps"] / "agent" / "trajectory.json")["steps"]
    assert step["llm_call_count"] == 0 and "/solution/solve.sh" in step["message"]


async def test_a_run_of_plain_questions_is_a_job_too(run: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = lambda body, request: chat("42") if "1 + 1" not in str(body) else (500, {"error": "no"})
    ran = await run("sums", model=endpoint.spec(), settings=("endpoint.max_retries=0",))
    folders = exported(ran, tmp_path)
    assert len(folders) == len(ran.rows)
    with pytest.raises(FileExistsError):
        export_job(ran.reader, tmp_path / "jobs")


def test_a_trajectory_holds_each_message_once_and_what_tools_said_where_they_were_called() -> None:
    from agentlab.traces.formats.atif_export import trajectory

    call = ToolCall(id="c1", name="bash", arguments={"command": "ls"})
    broken = ToolCall(id="c2", name="bash", raw="{", error="no JSON object")
    asked = (Message(role="system", content="Be brief."), Message(role="user", content="Look."))
    turn = Message(role="assistant", content="I look.", reasoning="hm", tool_calls=(call, broken))
    seen = Message(role="user", content=(ImagePart(media_type="image/png", sha256="ab"),))
    events = [
        ModelCall(at=1.0, model="m", messages=asked, response=turn, usage=Usage(10, 5, 2), cost_usd=0.5),
        ToolCallEvent(at=2.0, call=call, result=ToolResult(content="a.txt"), duration_ms=3.0),
        ToolCallEvent(at=2.1, call=broken, result=ToolResult(content="no", error="bad_arguments")),
        ModelCall(
            at=3.0, model="m", messages=(*asked, turn, seen), response=Message(role="assistant", content="Done.")
        ),
        ModelCall(at=4.0, model="judge", messages=asked, response=turn, purpose="judge"),
    ]
    made = trajectory(
        events, trajectory_id="t", session_id="s", agent="agentlab/tools", agent_version="0.1.0", model="m"
    )
    check(made, "atif_v1.8.schema.json")
    said = [(step["source"], step["message"]) for step in made["steps"]]
    assert said == [
        ("system", "Be brief."),
        ("user", "Look."),
        ("agent", "I look."),
        ("user", "[image ab]"),
        ("agent", "Done."),
    ]
    turn_step = made["steps"][2]
    assert turn_step["reasoning_content"] == "hm"
    assert [result["source_call_id"] for result in turn_step["observation"]["results"]] == ["c1", "c2"]
    assert made["final_metrics"] == {
        "total_prompt_tokens": 10,
        "total_completion_tokens": 5,
        "total_cached_tokens": 2,
        "total_cost_usd": 0.5,
        "total_steps": 5,
    }
