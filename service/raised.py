"""What a user's own code raised, in one line that leads to its place."""

from __future__ import annotations

import traceback
from pathlib import Path


def said_and_where(error: BaseException) -> str:
    """The error's words without line breaks, and `(FILE:LINE)`: the last line of the first file below the caller that
    the error passed through. No place where it was the caller itself that raised.
    """
    below = traceback.extract_tb(error.__traceback__)[1:]
    own = [frame for frame in below if frame.filename == below[0].filename]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return " ".join(str(error).split()) + place


def place_in(error: Exception, file: str) -> str:
    """`FILE:LINE`, the last line of `file` that the error passed through, or of a syntax that cannot be read; the file
    alone where it was neither.
    """
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        return f"{file}:{error.lineno}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{file}:{own[-1].lineno}" if own else file
