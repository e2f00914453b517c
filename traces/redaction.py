"""Secrets stay out of what is stored: values under keys that name a secret, values of such environment variables, and
credentials inside URLs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"(?:^|[_\-.])(?:api_?key|apikey|key|token|secret|passwd|password|credentials?|authorization)$", re.IGNORECASE
)
_NOT_SECRET = re.compile(r"(?:^|[_\-.])(?:eos|bos|pad|unk|stop|mask|sep|cls)_?token$", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]+(?=@)")  # up to the last @ of the authority: a password may hold one
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_SHORTEST_VALUE = 8  # shorter values would be found inside ordinary words


def redacted(document: Any, environment: Mapping[str, str] | None = None) -> Any:
    """A copy of plain data with secrets replaced by `[redacted]`. Numbers stay: a token count is no secret."""
    names = os.environ if environment is None else environment
    values = [value for name, value in names.items() if _names_secret(name) and len(value) >= _SHORTEST_VALUE]
    return _redact(document, sorted(values, key=len, reverse=True))


def _names_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _NOT_SECRET.search(name)


def _redact(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            key: REDACTED if item and isinstance(item, str) and _names_secret(str(key)) else _redact(item, secrets)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_redact(item, secrets) for item in value]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, REDACTED)
    return _BEARER.sub(rf"\1{REDACTED}", _CREDENTIALS.sub(REDACTED, value))
