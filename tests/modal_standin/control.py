"""Modal's control plane, as far as sandboxes go."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import string
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2
from modal_proto.api_grpc import ModalClientBase

from agentlab.sandboxes import images
from agentlab.sandboxes.docker.engine import EngineError
from modal_standin.access import issue
from modal_standin.containers import Containers, Sandbox
from modal_standin.unimplemented import complete

BUILDER = "2025.06"
LETTERS = string.ascii_letters + string.digits


@complete
class ControlPlane(ModalClientBase):
    """Every call that the client makes for a sandbox, V2 and V1."""

    def __init__(self, containers: Containers) -> None:
        self.url = ""
        self._containers = containers
        self._images: dict[str, str] = {}
        """The local image of each image id."""
        self._secrets: dict[str, dict[str, str]] = {}

    # The account.

    async def ClientHello(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(api_pb2.ClientHelloResponse())

    async def AuthTokenGet(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(api_pb2.AuthTokenGetResponse(token=issue("account")))

    async def EnvironmentGetOrCreate(self, stream: Any) -> None:
        await stream.recv_message()
        settings = api_pb2.EnvironmentSettings(image_builder_version=BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name="main", settings=settings)
        await stream.send_message(
            api_pb2.EnvironmentGetOrCreateResponse(environment_id="en-standin", metadata=metadata)
        )

    async def AppGetOrCreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(api_pb2.AppGetOrCreateResponse(app_id=f"ap-{request.app_name}"))

    # Images.

    async def ImageGetOrCreate(self, stream: Any) -> None:
        """Nothing is built: an image is there or it is not."""
        request = await stream.recv_message()
        image_id = "im-" + hashlib.sha256(request.image.SerializeToString(deterministic=True)).hexdigest()[:22]
        result = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
        try:
            self._images[image_id] = await self._local(request.image)
        except LookupError as error:
            result.status, result.exception = api_pb2.GenericResult.GENERIC_STATUS_FAILURE, str(error)
        await stream.send_message(api_pb2.ImageGetOrCreateResponse(image_id=image_id, result=result))

    async def _local(self, image: api_pb2.Image) -> str:
        """The engine's image for a definition: by our label, by the layer below, or by the last FROM."""
        text = "\n".join(image.dockerfile_commands)
        labels = dict(re.findall(rf"({re.escape(images.NAME_LABEL)}|{re.escape(images.VERSION_LABEL)})=(\S+)", text))
        if labels:
            found = f"{labels[images.NAME_LABEL]}:{labels[images.VERSION_LABEL]}"
        elif image.base_images:
            return self._images[image.base_images[0].image_id]
        else:
            found = re.findall(r"(?m)^FROM (\S+)", text)[-1]
        try:
            await self._containers.engine.call("GET", f"/images/{found}/json")
        except EngineError as error:
            raise LookupError(f"the local engine has no image {found}") from error
        return found

    # Sandboxes, second generation.

    async def SandboxCreateV2(self, stream: Any) -> None:
        request = await stream.recv_message()
        number = secrets.token_hex(13)
        env: dict[str, str] = {}
        for source in request.secret_sources:
            env |= dict(source.env.contents)
        box = await self._create(f"sb-2{number}", f"ta-{number}V", request, env)
        access = api_pb2.CommandRouterAccess(url=self.url, jwt=issue(box.task_id))
        await stream.send_message(
            api_pb2.SandboxCreateV2Response(
                sandbox_id=box.id, task_id=box.task_id, command_router_access=access, metadata=_metadata(box)
            )
        )

    async def SandboxGetCommandRouterAccess(self, stream: Any) -> None:
        request = await stream.recv_message()
        box = self._containers.by_task(request.task_id) or self._find(request.sandbox_id)
        answer = api_pb2.SandboxGetCommandRouterAccessResponse(url=self.url, jwt=issue(box.task_id))
        await stream.send_message(answer)

    async def SandboxWaitV2(self, stream: Any) -> None:
        await self.SandboxWait(stream)

    async def SandboxTerminateV2(self, stream: Any) -> None:
        await self.SandboxTerminate(stream)

    async def SandboxGetTaskIdV2(self, stream: Any) -> None:
        await self.SandboxGetTaskId(stream)

    async def SandboxTagsGetV2(self, stream: Any) -> None:
        await self.SandboxTagsGet(stream)

    async def SandboxListV2(self, stream: Any) -> None:
        await self.SandboxList(stream)

    # Sandboxes, first generation, and what both answer alike.

    async def SandboxCreate(self, stream: Any) -> None:
        request = await stream.recv_message()
        number = "".join(secrets.choice(LETTERS) for _ in range(22))
        env = {key: value for kept in request.definition.secret_ids for key, value in self._secrets[kept].items()}
        box = await self._create(f"sb-{number}", f"ta-{number}", request, env)
        await stream.send_message(api_pb2.SandboxCreateResponse(sandbox_id=box.id, metadata=_metadata(box)))

    async def SecretGetOrCreate(self, stream: Any) -> None:
        """V1 sends the environment of a sandbox as a secret."""
        request = await stream.recv_message()
        number = f"st-{secrets.token_hex(11)}"
        self._secrets[number] = dict(request.env_dict)
        await stream.send_message(api_pb2.SecretGetOrCreateResponse(secret_id=number))

    async def SandboxGetTaskId(self, stream: Any) -> None:
        request = await stream.recv_message()
        box = self._find(request.sandbox_id)
        await stream.send_message(api_pb2.SandboxGetTaskIdResponse(task_id=box.task_id, task_result=box.result))

    async def TaskGetCommandRouterAccess(self, stream: Any) -> None:
        request = await stream.recv_message()
        answer = api_pb2.TaskGetCommandRouterAccessResponse(url=self.url, jwt=issue(request.task_id))
        await stream.send_message(answer)

    async def SandboxWait(self, stream: Any) -> None:
        request = await stream.recv_message()
        box = self._find(request.sandbox_id)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(box.ended.wait(), request.timeout or 0.001)
        await stream.send_message(api_pb2.SandboxWaitResponse(result=box.result, metadata=_metadata(box)))

    async def SandboxTerminate(self, stream: Any) -> None:
        request = await stream.recv_message()
        box = self._find(request.sandbox_id)
        before = box.result
        await self._containers.end(box, api_pb2.GenericResult.GENERIC_STATUS_TERMINATED)
        await stream.send_message(api_pb2.SandboxTerminateResponse(existing_result=before))

    async def SandboxTagsGet(self, stream: Any) -> None:
        request = await stream.recv_message()
        tags = self._find(request.sandbox_id).tags
        found = [api_pb2.SandboxTag(tag_name=name, tag_value=value) for name, value in tags.items()]
        await stream.send_message(api_pb2.SandboxTagsGetResponse(tags=found))

    async def SandboxList(self, stream: Any) -> None:
        """Those that run, the youngest first, in one page."""
        request = await stream.recv_message()
        wanted = {tag.tag_name: tag.tag_value for tag in request.tags}
        found = [
            api_pb2.SandboxInfo(id=box.id, created_at=box.created_at, app_id=box.app_id, metadata=_metadata(box))
            for box in self._containers.sandboxes.values()
            if box.result is None and wanted.items() <= box.tags.items() and box.app_id == request.app_id
            if not request.before_timestamp or box.created_at < request.before_timestamp
        ]
        found.sort(key=lambda info: -info.created_at)
        await stream.send_message(api_pb2.SandboxListResponse(sandboxes=found))

    async def _create(self, number: str, task_id: str, request: Any, env: dict[str, str]) -> Sandbox:
        definition = request.definition
        if definition.network_access.network_access_type != api_pb2.NetworkAccess.BLOCKED:
            raise GRPCError(Status.UNIMPLEMENTED, "the stand-in for Modal has no network for sandboxes")
        tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        box = Sandbox(number, task_id, "", request.app_id, definition, tags)
        try:
            await self._containers.start(box, self._images[definition.image_id], env)
        except KeyError as error:
            raise GRPCError(Status.NOT_FOUND, f"no image {definition.image_id}") from error
        except EngineError as error:
            raise GRPCError(Status.FAILED_PRECONDITION, str(error)) from error
        return box

    def _find(self, number: str) -> Sandbox:
        box = self._containers.sandboxes.get(number)
        if box is None:
            raise GRPCError(Status.NOT_FOUND, f"no sandbox {number}")
        return box


def _metadata(box: Sandbox) -> api_pb2.SandboxHandleMetadata:
    return api_pb2.SandboxHandleMetadata(app_id=box.app_id, result=box.result)
