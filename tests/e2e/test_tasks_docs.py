"""The page on tasks says what is so: every file on it passes `agentlab tasks check`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from e2e.command_line import Cli

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"
FILES: dict[str, str] = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
ROWS = "country,capital,continent\nFrance,Paris,Europe\nGhana,Accra,Africa\nTogo,Lomé,Africa\n"


def test_every_example_is_tried() -> None:
    assert list(FILES) == ["capitals.py", "haiku.py", "planets.py", "tidy.py", "mine.py"]
    assert PAGE.read_text("utf-8").count("```python") == len(FILES)


@pytest.mark.parametrize(
    ("task", "samples"),
    [
        ("capitals.py::capitals", 3),
        ("capitals.py::capitals:terse:2shot", 3),
        ("capitals.py::capitals:continent=Africa", 2),
        ("haiku.py::haiku", 1),
        ("planets.py::planets", 2),
        ("planets.py::planets:loglikelihood", 2),
        ("mine.py::doubling", 1),
    ],
)
async def test_a_plain_example_passes_its_check(cli: Cli, task: str, samples: int) -> None:
    await _check(cli, task, samples)


@pytest.mark.usefixtures("docker")
async def test_an_example_that_works_in_a_box_passes_its_check(cli: Cli) -> None:
    await _check(cli, "tidy.py::tidy", 1)


async def test_a_suite_of_a_file_runs(cli: Cli) -> None:
    cli.write("mine.py", FILES["mine.py"])
    ran = await cli("run", "mine.py::twofold", "--model", "reference")
    assert ran.code == 0, ran.err
    assert "[twofold]" in ran.out


async def _check(cli: Cli, task: str, samples: int) -> None:
    file = task.partition("::")[0]
    cli.write(file, FILES[file])
    cli.write("capitals.csv", ROWS)
    checked = await cli("tasks", "check", task)
    assert checked.code == 0, checked.err
    noun = "sample" if samples == 1 else "samples"
    assert checked.out.splitlines()[0] == f"ok: reference on {samples} {noun} scores 1 everywhere"
