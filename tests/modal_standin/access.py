"""Who may ask: the control plane knows one token, the command router those that the control plane has given out."""

from __future__ import annotations

import base64
import json
import time

from grpclib import GRPCError, Status
from grpclib.events import RecvRequest

from modal_standin import TOKEN_ID, TOKEN_SECRET

LIFE_S = 3600.0


def issue(subject: str) -> str:
    """A token with the shape of a JWT, which the client reads its end of life from. Nothing is signed."""
    claims = {"sub": subject, "exp": time.time() + LIFE_S}
    parts = ({"alg": "none"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*texts, "standin"])


def subject(token: str) -> str:
    body = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])


async def admit(event: RecvRequest) -> None:
    metadata = event.metadata
    if "task_command_router" in event.method_name:
        if not str(metadata.get("authorization", "")).endswith(".standin"):
            raise GRPCError(Status.UNAUTHENTICATED, "the command router was asked without a token")
    elif (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret")) != (TOKEN_ID, TOKEN_SECRET):
        raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is wrong")
