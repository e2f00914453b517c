"""Exit codes, and the one place where an error of the core becomes one line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

FAILED = 1
USAGE = 2
ABSENT = 3
INTERRUPTED = 130


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Say what is wrong on standard error and leave with `code`. What the message repeats of others cannot steer the
    terminal.
    """
    from agentlab.traces.render import clean

    print(f"agentlab: {clean(message)}", file=sys.stderr)
    raise SystemExit(code)


@contextmanager
def boundary(*, interrupted: str = "stopped") -> Iterator[None]:
    """Turn the errors of every room into a sentence and an exit code; `interrupted` is what Ctrl-C came to."""
    from agentlab.models.protocol import ModelError
    from agentlab.sandboxes.protocol import SandboxError
    from agentlab.service.harness import ConfigError
    from agentlab.tasks.types import TaskError
    from agentlab.traces.errors import FormatError, StoreError, StoringStopped, UnknownRun, UnknownTrial

    try:
        try:
            yield
        except BaseExceptionGroup as group:
            from agentlab.service.runner import first_error

            raise first_error(group) from group
    except ConfigError as error:
        fail(str(error))
    except StoringStopped as error:
        fail(str(error), FAILED)
    except (TaskError, StoreError, FormatError, UnknownRun, UnknownTrial) as error:
        fail(str(error))
    except ModelError as error:
        fail(str(error), ABSENT if error.kind in ("connection", "timeout", "server", "bad_response") else USAGE)
    except SandboxError as error:
        fail(str(error), ABSENT)
    except BrokenPipeError:
        raise
    except OSError as error:
        # For example a name that is longer than any file's can be.
        fail(f"{str(error.filename)[:200]}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        fail(interrupted, INTERRUPTED)
