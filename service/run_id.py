"""How a run is called."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path


def new_run_id(words: str, runs_dir: Path) -> str:
    """Date, time, what is run, and four random digits: sorts by time and can be typed. No folder of `runs_dir` has that
    name: of a few runs begun within one second, two may draw the same digits.
    """
    slug = "".join(letter if letter.isalnum() else "-" for letter in words.lower()).strip("-")[:40] or "run"
    while True:
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"
        if not os.path.lexists(runs_dir / name):
            return name
