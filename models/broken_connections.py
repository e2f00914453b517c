"""What aiohttp's errors mean, for both transports: the `openai` SDK runs over aiohttp too."""

from __future__ import annotations

import aiohttp

from agentlab.models.protocol import ModelError
from agentlab.models.transport import Endpoint


def explain(error: BaseException, endpoint: Endpoint) -> ModelError:
    """The `ModelError` for a request that got no HTTP answer.

    Of a chain of causes the first one of aiohttp's decides: what the SDK wraps around it loses the difference between
    an endpoint that refuses and one that is slow.
    """
    shown = endpoint.base_url
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, aiohttp.ClientError):
        cause = cause.__cause__
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        wait = endpoint.connect_timeout_s
        return ModelError("connection", f"{shown}: no connection within {wait:g} s", retryable=True)
    if isinstance(cause, TimeoutError) or (cause is None and isinstance(error, TimeoutError)):
        return ModelError("timeout", f"{shown}: no answer within {endpoint.timeout_s:g} s", retryable=True)
    if isinstance(cause, aiohttp.ClientConnectorSSLError) and "WRONG_VERSION_NUMBER" in str(cause):
        return ModelError("connection", f"{shown}: no secure connection: the server does not speak TLS; try http://")
    if isinstance(cause, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return ModelError("connection", f"{shown}: no secure connection: {cause}")
    if isinstance(cause, aiohttp.ClientConnectorError):
        return ModelError("connection", f"{shown}: cannot connect ({_reason(cause.os_error, shown)})", retryable=True)
    if cause is None and isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        # Bytes of a status line that are no text, which the SDK's transport carries as surrogates.
        return ModelError("bad_response", f"{shown}: what came back is no HTTP: {_line(str(error))}")
    if isinstance(cause, aiohttp.InvalidURL) or (cause is None and isinstance(error, ValueError)):
        return ModelError("bad_request", f"{shown}: the address or a header is malformed: {error}")
    if isinstance(cause, aiohttp.ClientResponseError):
        return ModelError("bad_response", f"{shown}: what came back is no HTTP: {_line(cause.message)}")
    if isinstance(cause, aiohttp.ServerDisconnectedError):
        return ModelError("connection", f"{shown}: the server closed the connection", retryable=True)
    reason = _line(str(cause or error)) or type(cause or error).__name__
    if "content-encoding" in reason:
        return ModelError("bad_response", f"{shown}: the answer cannot be unpacked: {reason}")
    return ModelError("connection", f"{shown}: the connection broke off ({reason})", retryable=True)


def _reason(error: OSError, shown: str) -> str:
    """Why a connection failed; a TLS handshake that a plain HTTP server cut off says nothing itself."""
    if text := str(error):
        return text
    hint = ": if it does not speak TLS, try http://" if shown.startswith("https") else ""
    return f"{type(error).__name__}{hint}"


def _line(text: str, limit: int = 300) -> str:
    """Text of a library, which may repeat what came over the wire, as one short line."""
    line = " ".join(text[: 16 * limit].split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
