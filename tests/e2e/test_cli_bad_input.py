"""What a user gets for bad input: one sentence that says where and what, an exit code, and no traceback."""

from __future__ import annotations

import asyncio
import json
import os
import socket

import pytest
from e2e.command_line import Cli, quiz
from endpoints import Endpoint

RUN = ("run", "--model", "reference")


async def test_unknown_names_are_answered_with_the_nearest_one(cli: Cli) -> None:
    (await cli(*RUN, "gsm9k")).refused(2, "'gsm9k'", "did you mean 'gsm8k'?")
    (await cli(*RUN, "quickstart", "--harness", "tool")).refused(2, "'tool'", "did you mean tools?")
    (await cli(*RUN, "GSM8K")).refused(2, "did you mean 'gsm8k'?")
    (await cli(*RUN, "gsm8k,ifeval")).refused(2, "several tasks are separated by spaces")
    (await cli(*RUN, "gsm8k:fewshot=2")).refused(2, "has no parameter 'fewshot'; it has: style\n")
    cli.write("quiz.py", quiz(1))
    (await cli(*RUN, "quiz.py::quizz")).refused(2, "; quiz.py holds quiz; did you mean 'quiz'?")
    (await cli("tasks", "show", "humanevil")).refused(2, "did you mean 'humaneval'?")
    (await cli("rum", "gsm8k")).refused(2, "did you mean run?")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run gsm8k --limit x", "--limit: 'x' is no whole number (see agentlab run --help)"),
        ("run gsm8k --limit 0", "--limit: 0 is less than 1 (see agentlab run --help)"),
        ("run gsm8k --max-cost -1", "--max-cost: -1.0 is not more than 0 (see agentlab run --help)"),
        ("run gsm8k --modle x", "there is no option --modle; did you mean --model? (see agentlab run --help)"),
        ("run gsm8k --nosuch", "there is no option --nosuch (see agentlab run --help)"),
        ("run --limit", "--limit requires an argument (see agentlab --help)"),
        ("traces show latest", "TRIAL is missing (see agentlab traces show --help)"),
        ("results lst", "there is no command 'lst'; did you mean list? (see agentlab results --help)"),
        ("results list more", "got unexpected extra argument (more) (see agentlab results list --help)"),
    ],
)
async def test_a_slip_on_the_command_line_is_one_line_that_says_what_to_do(cli: Cli, words: str, said: str) -> None:
    assert (await cli(*words.split())).refused(2) == f"agentlab: {said}\n"


async def test_a_group_without_a_command_says_what_it_can_do(cli: Cli) -> None:
    ended = await cli("results")
    assert ended.code == 2 and "Commands:" in ended.err and "restore" in ended.err
    (await cli(*RUN, "quickstart", "--limmit", "3")).refused(2, "--limmit", "--limit")
    assert cli.runs == []


async def test_files_that_cannot_be_had_are_named(cli: Cli, unused_tcp_port: int) -> None:
    (await cli(*RUN, "gone.py")).refused(2, "gone.py: no such task file")
    assert (await cli("tasks", "list", "gone.py")).refused(2, "gone.py").count("gone.py") == 1
    (await cli("tasks", "init", "gone/mine.py")).refused(2, "gone/mine.py cannot be written")
    (await cli("tasks", "init", "class.py")).refused(2, "'class' is no name")
    prices = ("--set", "endpoint.prices=gone.yaml")
    model = f"http://127.0.0.1:{unused_tcp_port}/v1#tiny"
    (await cli("run", cli.write("quiz.py", quiz(1)), "--model", model, *prices)).refused(2, "price file gone.yaml")


GRADED = """
from agentlab.tasks import Sample, Score, Scorer, Task, task
from agentlab.tasks.scorers import number

def grade(sample, submission, context):
    if sample.id == "one":
        raise ValueError("no such\\nword")
    return True

@task
def graded():
    return Task(samples=[Sample(id=name, input="?", target="1") for name in ("one", "two")], scorers=SCORERS)
"""


@pytest.mark.parametrize(
    ("scorers", "said"),
    [
        ("[grade]", "grade is no Scorer: say scorers=[Scorer(name='grade', grade=grade)]"),
        ("[number]", "number is no Scorer: say scorers=[number()]"),
        ("['number']", "number is no Scorer: say scorers=[exact()], or scorers=[Scorer("),
        ("number()", "scorers must be several: scorers=[...]"),
        ("grade", "scorers must be several: scorers=[...]"),
    ],
)
async def test_what_is_no_scorer_is_answered_with_how_to_write_one(cli: Cli, scorers: str, said: str) -> None:
    file = cli.write("graded.py", GRADED.replace("SCORERS", scorers))
    assert (await cli(*RUN, file)).refused(2, "graded.py", said).count("\n") == 1
    assert cli.runs == []


async def test_a_scorer_that_raises_or_returns_no_score_is_told_in_a_line_with_its_place(cli: Cli) -> None:
    file = cli.write("graded.py", GRADED.replace("SCORERS", "[Scorer(name='mine', grade=grade)]"))
    out = (await cli(*RUN, file)).out
    assert "graded/one: verifier:ValueError: scorer mine: no such word (graded.py:7)\n" in out
    assert "graded/two: verifier:TypeError: scorer mine: it returned True, which is no Score: return Score(" in out


async def test_missing_arguments_are_named(cli: Cli) -> None:
    (await cli(*RUN)).refused(2, "name a task")
    (await cli("run", "quickstart")).refused(2, "--model")
    (await cli(*RUN, "quickstart", "--limit", "0")).refused(2, "--limit")
    assert (await cli(*RUN, "quickstart", "--max-cost", "nan")).refused(2, "max_cost").count("\n") == 1
    (cli.home / "runs" / "bare").mkdir(parents=True)
    cli.write("runs/bare/run.json", '{"config": {}}')
    assert (await cli("run", "--resume", "bare")).refused(2, "no configuration", "tasks").count("\n") == 1
    (await cli(*RUN, "quickstart", "--sandbox", "jail")).refused(2, "jail", "bubblewrap")


async def test_a_harness_file_is_refused_by_file_line_and_field(cli: Cli) -> None:
    cli.write("turns.yaml", "name: mine\nscaffold: tools\nlimits:\n  turns: many\n")
    (await cli(*RUN, "quickstart", "--harness", "turns.yaml")).refused(2, "turns.yaml:4: limits.turns", "'many'")
    cli.write("typo.yaml", "name: mine\nsampling:\n  temprature: 0.5\n")
    (await cli(*RUN, "quickstart", "--harness", "typo.yaml")).refused(2, "typo.yaml:3:", "did you mean temperature?")
    cli.write("open.yaml", "name: mine\ntools: [bash\nsystem: x\n")
    (await cli(*RUN, "quickstart", "--harness", "open.yaml")).refused(2, "open.yaml:3:")
    cli.write("list.yaml", "- one\n- two\n")
    (await cli(*RUN, "quickstart", "--harness", "list.yaml")).refused(2, "list.yaml:1:")
    cli.write("tab.yaml", "name: mine\nsampling:\n\ttop_p: 1\n")
    (await cli(*RUN, "quickstart", "--harness", "tab.yaml")).refused(2, "tab.yaml:3:")
    (cli.home / "bytes.yaml").write_bytes(b"name: \xff\xfe\n")
    (await cli(*RUN, "quickstart", "--harness", "bytes.yaml")).refused(2, "bytes.yaml")
    (await cli(*RUN, "quickstart", "--harness", "gone.yaml")).refused(2, "gone.yaml")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("sampling", ("sampling", "KEY=VALUE")),
        ("sampling.temprature=1", ("did you mean temperature?",)),
        ("limits.turns=many", ("--set limits.turns", "'many'")),
        ("limits.turns=-1", ("--set limits.turns", "greater than 0")),
        ("name.first=x", ("name has no fields",)),
        ("scaffold=loop", ("--set scaffold", "'tools'")),
    ],
)
async def test_a_bad_setting_is_refused(cli: Cli, setting: str, words: tuple[str, ...]) -> None:
    (await cli(*RUN, "quickstart", "--set", setting)).refused(2, *words)


LONG = "x" * 5000
BYTES = os.fsdecode(b"a\xff")
"""A byte on a command line that is no text."""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--resume", ""), ("--resume names no run",)),
        (("--runs-dir", ""), ("runs_dir",)),
        (("--harness", ""), ("unknown harness ''",)),
        (("--resume", LONG), ("File name too long",)),
        (("--runs-dir", LONG), ("File name too long",)),
        (("--max-connections", "9" * 400), ("max_connections", "10000")),
        (("--epochs", "1" + "0" * 30), ("epochs", "1000000000")),
        (("--set", f"system={BYTES}"), ("harness direct", "no text")),
        (("--model", f"http://127.0.0.1:1/v1#{BYTES}"), ("control characters",)),
        (("--model", "http://127.0.0.1:1/v1#\x1b[31mred"), ("control characters",)),
        (("--model", "http://256.256.256.256/v1#tiny"), ("malformed",)),
        (("--resume", "\x1b[31mred"), ("there is no run red",)),
    ],
)
async def test_weird_options_are_one_line(cli: Cli, args: tuple[str, ...], words: tuple[str, ...]) -> None:
    cli.write("quiz.py", quiz(1))
    said = (await cli(*RUN, "quiz.py", *args)).refused(2, *words)
    assert said.count("\n") == 1 and said[:-1].isprintable()
    assert cli.runs == []


async def test_a_task_whose_name_is_too_long_is_one_line(cli: Cli) -> None:
    (await cli(*RUN, LONG)).refused(2, "too long")


async def test_what_is_no_endpoint_at_all_is_found_out_at_the_start(cli: Cli) -> None:
    """Each trial would have met it again."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9\r\n")
        writer.close()

    cli.write("quiz.py", quiz(1))
    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (await cli("run", "quiz.py", "--model", f"http://127.0.0.1:{port}/v1#tiny")).refused(3, "no HTTP")
    assert cli.runs == []


async def test_mistakes_that_each_trial_would_meet_are_told_before_the_first(cli: Cli, endpoint: Endpoint) -> None:
    """Each of these was found once for every trial, the judge after all answers were paid for."""
    judged = quiz(2).replace("number()]", "rubric(['It is a sum.'])]").replace("import number", "import rubric")
    cli.write("judged.py", judged)
    cli.write("quiz.py", quiz(2))
    cli.write("boxed.py", quiz(2).replace("prompt=", "requires=('shell',), prompt="))
    model = ("--model", endpoint.spec())
    (await cli("run", "judged.py", *model)).refused(2, "is graded by a judge model", "--set judge=")
    (await cli("tasks", "check", "judged.py")).refused(2, "is graded by a judge model", "--set judge=")
    assert (await cli("tasks", "check", "quiz.py", "--set", "name=mine")).code == 0
    (await cli("run", "quiz.py", *model, "--set", "limits.cost_usd=1")).refused(2, "--set endpoint.prices=FILE")
    (await cli("run", "quiz.py", *model, "--max-cost", "1")).refused(2, "--set endpoint.prices=FILE")
    prices = ("--set", f"endpoint.prices={cli.write('p.yaml', 'other: {input: 1, output: 1}')}")
    (await cli("run", "quiz.py", *model, *prices)).refused(2, "p.yaml has no price for tiny")
    small = ("--harness", "tools", "--set", "box.memory_mb=64")
    (await cli("run", "boxed.py", *model, *small)).refused(2, "box: memory_mb=64 is too small")
    assert cli.runs == [] and endpoint.arrived == []


async def test_a_model_that_is_not_listed_is_asked_for_where_that_is_said(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(2))
    run = ("run", "quiz.py", "--model", endpoint.spec("hidden"))
    (await cli(*run)).refused(2, "--set endpoint.unlisted=true")
    assert (await cli(*run, "--set", "endpoint.unlisted=true")).code == 0


async def test_https_to_a_server_that_speaks_http_says_so(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(2))
    said = (await cli("run", "quiz.py", "--model", endpoint.spec().replace("http:", "https:"))).refused(
        3, "does not speak TLS"
    )
    assert "ssl:default" not in said and "try http://" in said

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # the beginning of a handshake
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = (await cli("run", "quiz.py", "--model", f"https://127.0.0.1:{port}/v1#tiny")).refused(3, "try http://")
    assert "()" not in said


async def test_an_unknown_tool_is_refused(cli: Cli) -> None:
    ended = await cli(*RUN, "quickstart", "--harness", "tools", "--set", "tools=[bash, basch]")
    ended.refused(2, "unknown tool 'basch'")


DUPLICATES = """
from agentlab.tasks import Sample, Task, task
from agentlab.tasks.scorers import match

@task
def twice() -> Task:
    samples = [Sample(id="a", input=text, target=text) for text in "xy"]
    return Task(samples=samples, scorers=[match()])
"""

ROWS = """
from agentlab.tasks import DataSource, Sample, Task, task
from agentlab.tasks.scorers import match

@task
def rows() -> Task:
    def to_sample(row):
        return Sample(id=row["id"], input=row["question"], target=row["answer"])
    return Task(source=DataSource("rows.jsonl"), to_sample=to_sample, scorers=[match()])
"""


async def test_duplicate_sample_ids_are_refused(cli: Cli) -> None:
    (await cli(*RUN, cli.write("twice.py", DUPLICATES))).refused(2, "twice", "'a'")


async def test_every_malformed_row_is_reported_by_file_and_line(cli: Cli) -> None:
    good = json.dumps({"id": "1", "question": "q", "answer": "a"})
    cli.write("rows.jsonl", "\n".join([good, '{"id": "2", "question": ', good.replace("1", "3"), '{"id": "4"}']) + "\n")
    (await cli(*RUN, cli.write("rows.py", ROWS))).refused(2, "rows.jsonl:2", "rows.jsonl:4", "question")


async def test_a_missing_data_file_is_named_with_where_it_was_looked_for(cli: Cli) -> None:
    (await cli(*RUN, cli.write("rows.py", ROWS))).refused(2, str(cli.home / "rows.jsonl"), "AGENTLAB_DATA")
    (await cli(*RUN, "gsm8k")).refused(2, "gsm8k", "AGENTLAB_DATA")


async def test_a_task_file_that_raises_at_import_fails_alone_and_harms_no_other(cli: Cli) -> None:
    broken = cli.write("broken.py", "import math\n\nmath.sqrt(-1)\n")
    (await cli(*RUN, broken)).refused(2, "broken.py:3", "ValueError")
    beside = await cli(*RUN, broken, cli.write("quiz.py", quiz(2)), "--json")
    assert beside.code == 0
    (error,) = beside.document["errors"]
    assert error["task"] == "broken.py" and "broken.py:3" in error["message"] and error["kind"].startswith("task")
    assert {task["task"]: task["value"] for task in beside.document["tasks"]} == {"broken.py": None, "quiz": 1.0}


async def test_what_no_sample_can_be_given_is_one_line_before_the_start(cli: Cli) -> None:
    """Each sample was an error of its own, in a run that ended as if all had gone well."""
    bash = quiz(3).replace("prompt=", "requires=('bash',), prompt=")
    said = (await cli(*RUN, cli.write("bash.py", bash))).refused(2, "the unknown capability 'bash'; there are browser")
    assert said.count("\n") == 1 and "bash.py:" in said
    each = quiz(3).replace("target=", "requires=('bash',), target=")
    said = (await cli(*RUN, cli.write("each.py", each))).refused(2, "quiz: requires the unknown capability 'bash'")
    assert said.count("\n") == 1
    (await cli(*RUN, "quickstart_repairs")).refused(2, "quickstart_repairs: ", "use --harness tools")
    small = quiz(3).replace("prompt=", "requires=('shell',), box=BoxNeeds(limits=Limits(memory_mb=64)), prompt=")
    imports = "from agentlab.sandboxes.protocol import Limits\nfrom agentlab.tasks import BoxNeeds\n"
    cli.write("small.py", imports + small)
    (await cli(*RUN, "small.py", "--harness", "tools")).refused(2, "quiz: memory_mb=64 is too small")
    assert cli.runs == []


async def test_an_endpoint_that_refuses_the_connection_is_absent(cli: Cli, unused_tcp_port: int) -> None:
    cli.write("quiz.py", quiz(2))
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    (await cli("run", "quiz.py", "--model", f"{url}#tiny")).refused(3, url, "connect")
    assert cli.runs == []


async def test_a_model_that_is_not_served_is_refused_with_those_that_are(cli: Cli, endpoint: Endpoint) -> None:
    cli.write("quiz.py", quiz(2))
    (await cli("run", "quiz.py", "--model", endpoint.spec("tinny"))).refused(2, "tinny", "did you mean tiny?")


async def test_without_an_engine_questions_run_and_code_does_not(cli: Cli) -> None:
    absent = {"DOCKER_HOST": f"unix://{cli.home}/no.sock"}
    refused = await cli(*RUN, "quickstart", "--harness", "tools", env=absent)
    assert "ssl" not in refused.refused(
        3, "no.sock does not answer (No such file or directory)", "--sandbox bubblewrap"
    )
    assert refused.err.count("\n") == 1
    (await cli(*RUN, "quickstart_programs", env={"DOCKER_HOST": "nonsense"})).refused(3, "'nonsense'")
    assert cli.runs == []
    for lacking in (absent, {"DOCKER_HOST": "nonsense"}):
        assert (await cli(*RUN, "quickstart_questions", env=lacking)).code == 0


async def test_an_engine_that_one_may_not_use_is_not_said_to_be_down(cli: Cli) -> None:
    """Who is not in the docker group was told to start an engine that was running."""
    path = str(cli.home / "engine.sock")
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(path)
        engine.listen()
        os.chmod(path, 0)
        if os.geteuid() == 0:  # root may do all, unless it gives that up
            cli.command = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", *cli.command)
        ended = await cli(*RUN, "quickstart_programs", env={"DOCKER_HOST": f"unix://{path}"})
    assert "ssl" not in ended.refused(3, f"you may not use the Docker engine at {path}", "docker group")
