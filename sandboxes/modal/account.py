"""The way to Modal: its own client and its own configuration (~/.modal.toml or MODAL_* variables), and one error for
all that it raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from agentlab.sandboxes.protocol import SandboxError

if TYPE_CHECKING:
    import modal

APP = "agentlab"
"""The app under which every box stands in the account."""
GREETING_S = 15.0
"""How long Modal may take to answer at all; its client tries again and again within."""


def library() -> Any:
    """The `modal` package. Raises SandboxError("unavailable") where the extra is not installed."""
    try:
        import modal
    except ImportError as error:
        raise SandboxError(
            "unavailable",
            "--sandbox modal needs the `modal` library, which is not installed "
            "(in a clone .venv/bin/pip install -e '.[modal]', else pip install 'agentlab-eval[modal]')",
        ) from error
    return modal


async def sign_in() -> tuple[modal.Client, modal.App]:
    """A client whose credentials Modal has accepted, and our app. Raises SandboxError("unavailable")."""
    found = library()
    with told(f"Modal at {_address()}"):
        async with asyncio.timeout(GREETING_S):
            client = await found.Client.from_env.aio()
            await client.hello.aio()
            return client, await found.App.lookup.aio(APP, client=client, create_if_missing=True)


def _address() -> str:
    from modal.config import config

    return str(config.get("server_url")).partition(",")[0]


@contextmanager
def told(what: str, kind: str = "unavailable") -> Iterator[None]:
    """Turn what the client raises into a SandboxError. `kind` is that of a refusal; one that lies in the account or
    the way to it is always `unavailable`.
    """
    errors = library().exception
    try:
        yield
    except errors.AuthError as error:
        _no_credentials(error)
    except TimeoutError as error:
        raise SandboxError("unavailable", f"{what} does not answer; check the network and try again") from error
    except errors.ImageBuildError as error:
        raise SandboxError("image", f"{what} could not be built on Modal: {_line(error)}") from error
    except (errors.ConnectionError, errors.ServiceError, errors.InternalError, OSError) as error:
        raise SandboxError("unavailable", f"{what} cannot be reached: {_line(error)}") from error
    except (errors.ResourceExhaustedError, errors.PermissionDeniedError) as error:
        raise SandboxError("unavailable", f"{what}: the account does not allow it: {_line(error)}") from error
    except errors.Error as error:
        raise SandboxError(kind, f"{what}: {_line(error)}") from error


def _no_credentials(error: Exception) -> NoReturn:
    text = _line(error)
    # The client's own sentence says where an account comes from, and leaves out the variables.
    why = "there are no credentials for Modal" if text.startswith("Token missing") else f"Modal refuses: {text}"
    raise SandboxError(
        "unavailable",
        f"{why}; run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or choose --sandbox docker",
    ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
