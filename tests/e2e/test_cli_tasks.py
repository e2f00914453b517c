"""`agentlab tasks`: started, listed, shown and checked."""

from __future__ import annotations

import re

from e2e.command_line import Cli, quiz


async def test_a_task_of_ones_own_is_started_listed_shown_and_checked(cli: Cli) -> None:
    made = await cli("tasks", "init", "sums.py")
    assert made.code == 0 and "agentlab tasks check sums.py" in made.out
    (await cli("tasks", "init", "sums.py")).refused(2, "there already")
    (listed,) = (await cli("tasks", "list", "sums.py", "--json")).document
    assert listed["name"] == "sums" and listed["kind"] == "task"
    shown = (await cli("tasks", "show", "sums.py::sums", "--json")).document
    assert shown["samples"] == 3 and "17 + 25" in shown["first_prompt"][0]["content"]
    checked = await cli("tasks", "check", "sums.py")
    assert checked.code == 0 and "reference" in checked.out and "nop" in checked.out
    cli.write("wrong.py", quiz(3).replace("str(2 * i)) for", 'str(2 * i) if i else "none") for'))
    wrong = await cli("tasks", "check", "wrong.py")
    assert wrong.code == 1 and "q0" in wrong.out
    cli.write("bare.py", quiz(9).replace("str(2 * i)) for", '"1" if i % 8 else "") for'))
    bare = (await cli("tasks", "check", "bare.py")).out
    assert "2 x neither target nor solution (q0, q8)" in bare
    cli.write("bare.py", quiz(1).replace("str(2 * i)) for", '"") for'))
    assert "sample q0 has neither target nor solution" in (await cli("tasks", "check", "bare.py")).out
    (await cli("tasks", "check", "sums.py::sum")).refused(2, "did you mean 'sums'")


async def test_a_suite_is_shown_by_its_members_and_a_task_with_its_variants(cli: Cli) -> None:
    suite = (await cli("tasks", "show", "quickstart", "--json")).document
    assert (suite["kind"], suite["combine"], len(suite["members"])) == ("suite", "mean", 3)
    shown = (await cli("tasks", "show", "quickstart")).out
    assert "the mean of its members, each weighed alike" in shown
    assert re.findall(r"^quickstart_\w+(?=  )", shown, re.MULTILINE) == suite["members"]
    own = (
        quiz(2).replace("@task\n", '@task(variants={"hard": {"n": 5}})\n').replace("def quiz()", "def quiz(n: int = 2)")
    )
    cli.write("quiz.py", own)
    described = (await cli("tasks", "show", "quiz.py")).out
    assert re.search(r"^variants +hard *\nparameters +n *\n", described, re.MULTILINE)
    starts = {re.match(r"(?:name|samples|variants) +", line) for line in described.splitlines()} - {None}
    assert len({found.end() for found in starts if found}) == 1  # one column of values
    assert (await cli("tasks", "show", "quiz.py::quiz:hard", "--json")).document["variants"] == ["hard"]
    (await cli("tasks", "check", "quickstart")).refused(2, "quickstart holds several tasks")


async def test_a_task_shows_what_each_route_is_sent(cli: Cli) -> None:
    """humaneval showed the prompt of a box, which a model that answers directly never sees."""
    both = (await cli("tasks", "show", "quickstart_programs", "--json")).document
    (direct,), (in_box,) = both["first_prompt"], both["first_prompt_in_box"]
    assert in_box["content"].startswith(direct["content"]) and "submit" in in_box["content"]
    assert "submit" not in direct["content"]
    shown = (await cli("tasks", "show", "quickstart_programs")).out
    assert "user, without a box (--harness direct)" in shown and "user, in a box (--harness tools)" in shown
    files = (await cli("tasks", "show", "quickstart_repairs", "--json")).document
    assert files["first_prompt"] == [] and files["first_prompt_in_box"], "it has no answer but in a box"
    plain = (await cli("tasks", "show", "quickstart_questions", "--json")).document
    assert plain["first_prompt"] and plain["first_prompt_in_box"] == []
    assert "without a box" not in (await cli("tasks", "show", "quickstart_questions")).out


async def test_the_tasks_of_the_package_are_listed(cli: Cli) -> None:
    listed = {entry["name"]: entry for entry in (await cli("tasks", "list", "--json")).document}
    assert listed["quickstart"]["kind"] == "suite" and len(listed["quickstart"]["members"]) == 3
    assert {"gsm8k", "math500", "mmlu", "humaneval", "mbpp", "polyglot", "ifeval", "bbh"} <= set(listed)
    assert listed["humaneval"]["requires"]
    table = await cli("tasks", "list")
    assert table.code == 0 and "humaneval" in table.out
    kinds = re.findall(r"^\w+  +(suite|questions|work in a box)  ", table.out, re.MULTILINE)
    assert kinds == sorted(kinds, key=["suite", "questions", "work in a box"].index), "each kind together"
    assert len(kinds) == len(listed)
