"""How a run is called."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


def new_run_id(words: str) -> str:
    """Date, time, what is run, and four random digits: sorts by time and can be typed."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in words.lower()).strip("-")[:40] or "run"
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"
