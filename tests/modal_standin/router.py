"""Modal's task command router: commands in a sandbox, their streams and how they end."""

from __future__ import annotations

from typing import Any

from grpclib import GRPCError, Status
from modal_proto import task_command_router_pb2 as messages
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from agentlab.sandboxes.docker.engine import EngineError
from modal_standin.containers import Command, Containers, Sandbox
from modal_standin.unimplemented import complete


@complete
class CommandRouter(TaskCommandRouterBase):
    """On a real worker there is one beside each sandbox; here one serves all."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers

    async def TaskExecStart(self, stream: Any) -> None:
        """Asked twice for the same command (the first answer was lost), it starts once."""
        request = await stream.recv_message()
        box = self._box(request.task_id)
        if request.exec_id not in box.commands:
            env: dict[str, str] = {}
            for source in request.secret_sources:
                env |= dict(source.env.contents)
            try:
                command = await self._containers.run(box, list(request.command_args), env, request.workdir)
            except EngineError as error:
                raise GRPCError(Status.FAILED_PRECONDITION, str(error)) from error
            box.commands[request.exec_id] = command
        await stream.send_message(messages.TaskExecStartResponse())

    async def TaskExecStdioRead(self, stream: Any) -> None:
        request = await stream.recv_message()
        command = self._command(request)
        which = 1 if request.file_descriptor == messages.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT else 2
        async for data in command.output[which].read(request.offset):
            await stream.send_message(messages.TaskExecStdioReadResponse(data=data))

    async def TaskExecStdinWrite(self, stream: Any) -> None:
        request = await stream.recv_message()
        await self._command(request).write(request.offset, request.data, request.eof)
        await stream.send_message(messages.TaskExecStdinWriteResponse())

    async def TaskExecStdinWriteStream(self, stream: Any) -> None:
        """All input in one call: where it goes and from which byte on, the bytes, and an explicit end."""
        start = (await stream.recv_message()).start
        command, offset = self._command(start), start.offset
        async for request in stream:
            await command.write(offset, request.data, request.WhichOneof("payload") == "end")
            offset += len(request.data)
        await stream.send_message(messages.TaskExecStdinWriteStreamResponse())

    async def TaskExecStdinStatus(self, stream: Any) -> None:
        command = self._command(await stream.recv_message())
        status = messages.TaskExecStdinStatusResponse(num_bytes_written=command.received, closed=command.input_closed)
        await stream.send_message(status)

    async def TaskExecWait(self, stream: Any) -> None:
        command = self._command(await stream.recv_message())
        await command.ended.wait()
        await stream.send_message(messages.TaskExecWaitResponse(code=command.code))

    async def TaskExecPoll(self, stream: Any) -> None:
        command = self._command(await stream.recv_message())
        ended = messages.TaskExecPollResponse(code=command.code)
        await stream.send_message(ended if command.ended.is_set() else messages.TaskExecPollResponse())

    def _box(self, task_id: str) -> Sandbox:
        box = self._containers.by_task(task_id)
        if box is None or box.result is not None:
            raise GRPCError(Status.NOT_FOUND, f"no running task {task_id}")
        return box

    def _command(self, request: Any) -> Command:
        box = self._containers.by_task(request.task_id)
        command = box.commands.get(request.exec_id) if box is not None else None
        if command is None:
            raise GRPCError(Status.NOT_FOUND, f"no command {request.exec_id}")
        return command
