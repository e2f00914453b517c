"""docs/json.md names what `--json` prints: every field, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from e2e.command_line import Cli, quiz


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "json.md").read_text(encoding="utf-8")


def section(page: str, heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    text = re.split(r"^#", page.partition(heading)[2], maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def listed(page: str, command: str) -> set[str]:
    """The names in backquotes of a bullet, up to its first sentence that is about something else."""
    (text,) = re.findall(rf"^- `{re.escape(command)}`: (.*?)(?=^- |\Z)", page, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`(\w+)`", text))


async def test_the_page_names_the_fields_that_are_printed(page: str, cli: Cli) -> None:
    run = ("run", cli.write("quiz.py", quiz(2)), "--model", "reference", "--json")
    document = (await cli(*run)).document
    shown = (await cli("results", "show", "latest", "--json")).document
    assert section(page, "## `run --json`") == set(document) == set(shown)
    assert section(page, "### `tasks`") == set(document["tasks"][0])
    rows = (await cli("results", "show", "latest", "--samples", "--json")).document
    assert section(page, "## `results show RUN --samples --json`") == set(rows[0])
    planned = (await cli("run", "quickstart", "--plan", "--json")).document
    fields = set(planned) | set(planned["plan"][0]) | set(planned["boxes"][0])
    assert listed(page, "run --plan --json") == fields | {"message"}
    (entry,) = (await cli("results", "list", "--json")).document
    assert listed(page, "results list --json") == set(entry)
    rows = (await cli("traces", "list", "latest", "--json")).document
    assert listed(page, "traces list RUN --json") == set(rows[0])
    found = (await cli("traces", "diff", "latest", "1", "2", "--json")).document
    fields = set(found) | set(found["first"]) | set(found["parting"]) | set(found["steps"][0])
    assert listed(page, "traces diff RUN TRIAL TRIAL --json") == fields | {"null"}
    for event in (await cli("traces", "show", "latest", "1", "--json")).document:
        assert {"step", "type", "at"} <= listed(page, "traces show RUN TRIAL --json") & set(event)


async def test_the_page_names_the_fields_of_suites_and_sandboxes(page: str, cli: Cli) -> None:
    absent = {"DOCKER_HOST": f"unix://{cli.home}/no.sock", "PATH": "/nonexistent"}
    found = (await cli("sandbox", "check", "--json", env=absent)).document
    assert set(found[0]) <= listed(page, "sandbox check --json")
    cli.write("pair.py", f"from agentlab.tasks import Suite\n{quiz(1)}\npair = Suite(name='pair', tasks=('quiz',))\n")
    (suite,) = (await cli("run", "pair.py", "--model", "reference", "--json")).document["suites"]
    (row,) = re.findall(r"^\| `suites` \|.*$", page, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) - {"suites"} == set(suite)
