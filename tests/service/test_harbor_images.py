"""Images of tasks in Harbor's format: built, taken as they are, without Python, with a program that starts first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint
from harbor_directories import IMAGE, failure_of, harbor_task, playing, value_of

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker")]


async def test_an_image_is_built_from_the_dockerfile(harbor: Any, tmp_path: Path) -> None:
    toml = '[environment]\nnetwork_mode = "no-network"\nmemory_mb = 256\n'
    dockerfile = (
        f"FROM {IMAGE}\nWORKDIR /made/here\nCOPY data.txt /data.txt\nRUN echo built > /made/stamp\nENV SHADE=blue\n"
    )
    test = """
        found="$(pwd) $(cat /data.txt /made/stamp | tr '\\n' ' ')$SHADE"
        [ "$found" = "/made/here a b built blue" ]; echo $((1 - $?)) > /logs/verifier/reward.txt
    """
    files = {"environment/Dockerfile": dockerfile, "environment/data.txt": "a\nb\n"}
    assert await value_of(harbor, harbor_task(tmp_path / "built", toml=toml, test=test, files=files)) == 1.0


async def test_a_dockerfile_that_fails_is_said_with_its_end(harbor: Any, tmp_path: Path) -> None:
    files = {"environment/Dockerfile": f"FROM {IMAGE}\nRUN echo about to fail; false\n"}
    task = harbor_task(tmp_path / "unbuilt", toml='[environment]\nnetwork_mode = "no-network"\n', files=files)
    outcome, kind, message = await failure_of(harbor, task)
    assert (outcome, kind) == ("sandbox", "image") and "about to fail" in message and "--allow-network" in message


async def test_a_prebuilt_image_wins_and_loose_files_are_laid_down(harbor: Any, tmp_path: Path) -> None:
    both = harbor_task(tmp_path / "both", files={"environment/Dockerfile": "FROM nowhere/at-all\n"})
    assert await value_of(harbor, both) == 1.0
    test = "grep -q loose /app/notes/a.txt; echo $((1 - $?)) > /logs/verifier/reward.txt"
    loose = harbor_task(tmp_path / "loose", test=test, files={"environment/notes/a.txt": "loose"})
    assert await value_of(harbor, loose) == 1.0


async def test_an_image_without_python_is_no_hindrance(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    endpoint.behave = playing("command -v python3 || echo right > answer.txt")
    dockerfile = f"FROM {IMAGE}\nRUN rm -rf /usr/lib/python3* /usr/bin/python*\nWORKDIR /app\n"
    toml = '[environment]\nnetwork_mode = "no-network"\nmemory_mb = 256\n'
    task = harbor_task(tmp_path / "bare", toml=toml, files={"environment/Dockerfile": dockerfile})
    assert await value_of(harbor, task, model=endpoint.spec()) == 1.0


async def test_what_the_image_starts_first_is_started(harbor: Any, tmp_path: Path, endpoint: Endpoint) -> None:
    """With a command that idles, as Harbor does; a health check waits for what it brings up."""
    endpoint.behave = playing("cat /started > answer.txt")
    entrypoint = 'ENTRYPOINT ["sh", "/start.sh"]'
    files = {
        "environment/Dockerfile": f"FROM {IMAGE}\nCOPY start.sh /start.sh\nWORKDIR /app\n{entrypoint}\n",
        "environment/start.sh": 'echo right > /started\nexec "$@"\n',
    }
    toml = '[environment]\nnetwork_mode = "no-network"\nmemory_mb = 256\n'
    toml += '[environment.healthcheck]\ncommand = "test -f /started"\ninterval_sec = 0.05\nretries = 100\n'
    ran = await harbor(harbor_task(tmp_path / "first", toml=toml, files=files), model=endpoint.spec())
    assert ran.rows["first"].value == 1.0


async def test_an_image_is_built_without_a_network_unless_the_run_allows_one(harbor: Any, tmp_path: Path) -> None:
    cards = "RUN echo $(ls /sys/class/net) > /cards\nWORKDIR /app\n"
    test = 'if [ "$(cat /cards)" = lo ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt'
    toml = '[environment]\nnetwork_mode = "no-network"\nmemory_mb = 256\n'
    values = []
    for name, fields in (("closed", {}), ("open", {"allow_network": True})):
        # Another text, so that no layer of an earlier build is taken.
        files = {"environment/Dockerfile": f"FROM {IMAGE}\nRUN echo {name} {tmp_path}\n{cards}"}
        task = harbor_task(tmp_path / name, toml=toml, test=test, files=files)
        values.append(await value_of(harbor, task, **fields))
    assert values == [1.0, 0.0]
