"""Carries out benchmarks that have a runner of their own: the program is run once for all samples that are wanted, and
each of its results becomes a trial.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from agentlab.sandboxes.protocol import SandboxError
from agentlab.service.boxes import started
from agentlab.service.model_port import ModelPort, listening
from agentlab.service.planner import EXTERNAL
from agentlab.service.trial import FINAL_SANDBOX_KINDS, Result
from agentlab.tasks.external import WHOLE, ExternalEval, ExternalResult, SandboxedExternalEval
from agentlab.tasks.types import TaskError
from agentlab.traces.events import ErrorRaised, Outcome, SandboxEnd, SandboxExec, Scored

if TYPE_CHECKING:
    from agentlab.models.protocol import Model, Sampling
    from agentlab.sandboxes.pool import Pool
    from agentlab.sandboxes.protocol import BoxSpec, ExecStream, Sandbox
    from agentlab.traces.events import Recorder

BOX_PORT = 8017
SHOWN = 4000
MAX_RESULTS = 256 << 20
KEPT_ENV = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "LOGNAME", "VIRTUAL_ENV", "SSL_CERT_FILE")
"""What a program on this machine gets of its environment: no keys, as the model is reached through its port."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One run of the program: for which samples, with which model, and who records it."""

    task: ExternalEval
    ids: Sequence[str]
    model: Model
    recorder: Recorder
    epoch: int
    seed: int
    sampling: Sampling
    """What the harness says of drawing answers, for what the program leaves open."""
    spec: BoxSpec | None = None

    @property
    def port(self) -> ModelPort:
        return ModelPort(self.model, self.recorder, self.sampling, self.epoch)


@dataclass(slots=True)
class ExternalRuns:
    """The programs of a run, each carried out once for each epoch by the first trial that needs it."""

    pool: Pool | None
    _locks: dict[tuple[str, int], asyncio.Lock] = field(default_factory=dict)
    _found: dict[tuple[str, int], dict[str, ExternalResult]] = field(default_factory=dict)
    _failed: dict[tuple[str, int], TaskError] = field(default_factory=dict)

    async def result(self, batch: Batch, sample: str) -> ExternalResult:
        """The result of one sample; the program runs where no other trial has run it. Raises TaskError for a program
        that failed or said nothing of the sample, SandboxError.
        """
        key = (batch.task.name, batch.epoch)
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key in self._failed:
                raise self._failed[key]
            if key not in self._found:
                try:
                    self._found[key] = _by_id(batch, await self._run(batch))
                except TaskError as error:
                    self._failed[key] = error
                    raise
        found = self._found[key].get(sample)
        if found is None:
            raise TaskError(f"the program gave no result for sample {sample}")
        if found.value is None:
            raise TaskError(f"the program could not grade it: {found.error or 'it gave no value'}")
        return found

    async def _run(self, batch: Batch) -> list[ExternalResult]:
        if isinstance(batch.task, SandboxedExternalEval):
            if self.pool is None or batch.spec is None:
                raise SandboxError("unavailable", "this run was planned without a sandbox")
            data = await _run_in_box(batch, batch.task, self.pool, batch.spec)
        else:
            data = await _run_here(batch)
        try:
            return list(batch.task.read(data))
        except TaskError:
            raise
        except Exception as error:
            raise TaskError(f"its results cannot be read: {type(error).__name__}: {error}") from error


async def external_attempt(runs: ExternalRuns, batch: Batch, sample: str) -> Result:
    """One trial: what the program found on the sample. Never raises but for cancellation."""
    try:
        found = await runs.result(batch, sample)
    except TaskError as error:
        return _ended(batch, "task", "program", str(error))
    except SandboxError as error:
        return _ended(batch, "sandbox", error.kind, str(error), retry=error.kind not in FINAL_SANDBOX_KINDS)
    value = found.value or 0.0
    numbers = {"value": value, **found.scores}
    if not all(math.isfinite(number) for number in numbers.values()):
        return _ended(batch, "verifier", "nan", "the program gave a number that is not finite")
    scored = Scored(
        at=time.time(),
        scorer=EXTERNAL,
        version=batch.task.version,
        value=value,
        scores=found.scores,
        answer=found.answer[:4096],
        explanation=found.explanation[:4096],
    )
    batch.recorder.record(scored)
    return Result("scored", value, dict(found.scores))


def _ended(batch: Batch, outcome: Outcome, kind: str, message: str, *, retry: bool = False) -> Result:
    batch.recorder.record(ErrorRaised(at=time.time(), boundary=outcome, kind=kind, message=message))
    return Result(outcome, error_kind=kind, error_message=message, retry=retry)


def _by_id(batch: Batch, results: list[ExternalResult]) -> dict[str, ExternalResult]:
    """Results by sample. Where the whole program is one trial: their mean, and the mean of each named score."""
    if list(batch.ids) != [WHOLE] or any(result.id == WHOLE for result in results):
        return {result.id: result for result in results}
    values = [result.value for result in results if result.value is not None]
    if not values:
        raise TaskError("the program gave no value at all")
    names = dict.fromkeys(name for result in results for name in result.scores)
    scores = {name: fmean(r.scores[name] for r in results if name in r.scores) for name in names}
    told = f"{len(values)} results of the program"
    return {WHOLE: ExternalResult(WHOLE, fmean(values), {**scores, "n": float(len(values))}, explanation=told)}


async def _run_here(batch: Batch) -> bytes:
    """The program on this machine, in a directory of its own; the bytes of its results. Raises TaskError."""
    with tempfile.TemporaryDirectory(prefix="agentlab-external-") as work:
        folder = Path(work)
        (folder / "samples.json").write_text(json.dumps(list(batch.ids)), encoding="utf-8")
        async with listening(batch.port) as (url, token):
            argv = _argv(batch, url, str(folder / "samples.json"), str(folder / batch.task.results))
            env = {name: os.environ[name] for name in KEPT_ENV if name in os.environ}
            await _run_program(batch, argv, {**env, **_told(url, token, batch)}, folder)
        path = folder / batch.task.results
        if not path.is_file() or path.is_symlink():
            raise TaskError(f"the program ended without writing {batch.task.results}")
        if path.stat().st_size > MAX_RESULTS:
            raise TaskError(f"the results have more than {MAX_RESULTS >> 20} MB")
        return path.read_bytes()


async def _run_program(batch: Batch, argv: list[str], env: Mapping[str, str], folder: Path) -> None:
    started = time.monotonic()
    output = folder / ".output"
    with output.open("wb") as log:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=folder,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise TaskError(f"{argv[0]} cannot be run: {error.strerror}") from None
    try:
        with anyio.move_on_after(batch.task.timeout_s) as limit:
            await process.wait()
    finally:
        await _end(process)
    said = _tail(output)
    code = -9 if limit.cancelled_caught else process.returncode or 0
    _record(batch, "this machine", argv, code, said, started, timed_out=limit.cancelled_caught)
    _refuse_failure(batch, code, limit.cancelled_caught, said)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Everything that the program started ends with it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    with anyio.CancelScope(shield=True):
        await process.wait()


def _tail(path: Path) -> str:
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - SHOWN))
        return log.read().decode("utf-8", "replace")


async def _run_in_box(batch: Batch, task: SandboxedExternalEval, pool: Pool, spec: BoxSpec) -> bytes:
    """The program in a box, its model behind a port there; the bytes of its results. Raises TaskError, SandboxError."""
    asked = time.monotonic()
    async with pool.box(spec) as box:
        taken = time.monotonic()
        batch.recorder.record(started(box, taken - asked))
        try:
            for path, text in {**task.files, "samples.json": json.dumps(list(batch.ids))}.items():
                await box.write_file(path, text.encode("utf-8", "surrogateescape"))
            url = f"http://127.0.0.1:{BOX_PORT}/v1"
            argv = _argv(batch, url, "samples.json", task.results)
            async with _port_in_box(box, batch.port, task.timeout_s):
                result = await box.exec(argv, env=_told(url, "in-the-box", batch), timeout=task.timeout_s)
            said = (result.stdout + result.stderr)[-SHOWN:].decode("utf-8", "replace")
            _record(batch, box.id, argv, result.exit_code, said, taken, timed_out=result.timed_out)
            _refuse_failure(batch, result.exit_code, result.timed_out, said)
            await box.quiesce()
            try:
                return await box.read_file(task.results)
            except (OSError, ValueError) as error:
                raise TaskError(f"the program ended without writing {task.results}: {error}") from None
        finally:
            batch.recorder.record(SandboxEnd(at=time.time(), box=box.id, seconds=time.monotonic() - taken))


@asynccontextmanager
async def _port_in_box(box: Sandbox, port: ModelPort, seconds: float) -> AsyncIterator[None]:
    """A port in the box at which the model answers, for as long as the context lasts."""
    argv = ("python3", "-I", "-c", _in_box_source(), str(BOX_PORT))
    async with box.stream(argv, user="grader", timeout=seconds + 60, max_output=1 << 40) as process:
        lines = _lines(process)
        await _first(lines)
        async with anyio.create_task_group() as group:
            group.start_soon(_answer_all, lines, process, port)
            yield
            group.cancel_scope.cancel()


@cache
def _in_box_source() -> str:
    return resources.files("agentlab.service").joinpath("in_box_port.py").read_text(encoding="utf-8")


async def _first(lines: AsyncIterator[dict[str, Any]]) -> None:
    """Wait until the port listens."""
    async for _ in lines:
        return
    raise SandboxError("start", "the model's port in the box did not start: it needs python3")


async def _lines(process: ExecStream) -> AsyncIterator[dict[str, Any]]:
    held = b""
    async for name, chunk in process:
        if name != "stdout":
            continue
        *complete, held = (held + chunk).split(b"\n")
        if len(held) > 2 * (16 << 20):
            raise SandboxError("protocol", "the model's port in the box sent a line without an end")
        for line in complete:
            yield msgspec.json.decode(line, type=dict[str, Any])


async def _answer_all(lines: AsyncIterator[dict[str, Any]], process: ExecStream, port: ModelPort) -> None:
    async def answer(request: dict[str, Any]) -> None:
        status, body = await port.answer(request.get("body"))
        reply = {"id": request.get("id"), "status": status, "body": body}
        async with sending:
            await process.send(json.dumps(reply).encode() + b"\n")

    sending = asyncio.Lock()
    async with anyio.create_task_group() as group:
        async for request in lines:
            group.start_soon(answer, request)


def _argv(batch: Batch, url: str, samples: str, results: str) -> list[str]:
    words = {
        "{base_url}": url,
        "{model}": batch.model.name,
        "{samples}": samples,
        "{results}": results,
        "{seed}": str(batch.seed),
    }
    argv = []
    for word in batch.task.command:
        for name, value in words.items():
            word = word.replace(name, value)
        argv.append(word)
    return argv


def _told(url: str, token: str, batch: Batch) -> dict[str, str]:
    told = {"OPENAI_BASE_URL": url, "OPENAI_API_BASE": url, "OPENAI_API_KEY": token, "NO_PROXY": "127.0.0.1"}
    return {**told, **batch.task.env}


def _refuse_failure(batch: Batch, code: int, timed_out: bool, said: str) -> None:
    if timed_out:
        raise TaskError(f"the program was stopped after {batch.task.timeout_s:g} s")
    if code:
        raise TaskError(f"the program ended with {code}: {said.strip()[-500:] or 'it said nothing'}")


def _record(
    batch: Batch, where: str, argv: Sequence[str], code: int, said: str, started: float, *, timed_out: bool
) -> None:
    batch.recorder.record(
        SandboxExec(
            at=time.time(),
            box=where,
            argv=tuple(argv),
            exit_code=code,
            stdout=said,
            timed_out=timed_out,
            duration_ms=(time.monotonic() - started) * 1e3,
        )
    )
