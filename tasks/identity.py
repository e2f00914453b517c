"""What makes a task the same task: an explicit, versioned payload without defaults, and its hash.

A field that is added to Task, Sample or Sampling with a default changes no hash that was written before. Nothing in
it is a path or a limit: those belong to the run.
"""

from __future__ import annotations

import dataclasses
import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from agentlab.tasks.external import ExternalEval, external_payload
from agentlab.tasks.loading import IdKeys, located_samples
from agentlab.tasks.prompting import load_fewshot
from agentlab.tasks.sampling import key_function, smallest
from agentlab.tasks.types import BoxNeeds, Sample, Scorer, Task, TaskError

SCHEMA = 1
"""Raised when the payload's meaning changes; every old hash changes with it."""

IN_HAND = 16_384
"""Samples that are held at once to be run in the seed's order: 25 MB of questions."""

_PLAIN_FIELDS = (
    "version",
    "prompt",
    "agent_prompt",
    "system",
    "prompt_mode",
    "method",
    "requires",
    "answer",
    "answer_file",
)
_Kind: TypeAlias = tuple[str, tuple[str, ...], BoxNeeds | None]
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Task)}


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """A task's hash, the payload it is the hash of, and the number of samples."""

    task_hash: str
    payload: dict[str, Any]
    n: int
    """Samples in the data, taken or not."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What one reading of a task's data tells: identity, and which samples are taken. Data that is wrong raised
    before.
    """

    task: Task
    identity: TaskIdentity
    positions: Sequence[int]
    """Positions in the data of the samples taken, in order; 8 bytes each."""
    groups: dict[str, int]
    """Samples taken by group."""
    needs: dict[tuple[tuple[str, ...], BoxNeeds | None], int]
    """Samples taken by what their agent needs, and the box that a procedure asks for (None: the task's)."""
    order: Sequence[int]
    """Places among the samples taken, in the order in which they are run; 8 bytes each."""

    @property
    def requires(self) -> dict[tuple[str, ...], int]:
        """Samples taken by what their agent needs."""
        found: dict[tuple[str, ...], int] = {}
        for (required, _), n in self.needs.items():
            found[required] = found.get(required, 0) + n
        return found

    @property
    def n_total(self) -> int:
        return self.identity.n

    @property
    def n(self) -> int:
        return len(self.positions)

    def samples(self) -> Iterator[tuple[int, Sample]]:
        """Read the data again and yield (place among the samples taken, sample): the same at every call. Raises
        TaskError.
        """
        wanted = enumerate(self.positions)
        place, target = next(wanted)
        for position, (_, sample) in enumerate(located_samples(self.task)):
            if position != target:
                continue
            yield place, sample
            place, target = next(wanted, (-1, -1))
            if place < 0:
                return
        raise TaskError("the data holds fewer samples than when it was read the first time", where=self.task.name)

    def shuffled(self) -> Iterator[tuple[int, Sample]]:
        """Like `samples`, in the seed's order: the first N are those that `--limit N` draws, so that a run which
        ends early has measured the whole task and not the beginning of a sorted file.

        The data is read once for every `IN_HAND` samples, and no more than these are held. What was read before a
        reading broke off is given first.
        """
        for start in range(0, self.n, IN_HAND):
            now = self.order[start : start + IN_HAND]
            wanted, found = set(now), dict[int, Sample]()
            broken: Exception | None = None
            try:
                for place, sample in self.samples():
                    if place in wanted:
                        found[place] = sample
            except TaskError:
                raise
            except Exception as error:  # noqa: BLE001  raised again below
                broken = error
            for place in now:
                if place in found:
                    yield place, found.pop(place)
            if broken is not None:
                raise broken


def survey(task: Task, limit: int | None = None, seed: int = 0) -> Survey:
    """Read the whole data of `task` once: check it, hash it, draw `limit` samples. Memory: some 20 bytes a sample.

    Raises TaskError for malformed rows (all of them), duplicate ids, data that is missing, or no samples at all.
    """
    key = key_function(task.name, seed)
    keys, kinds, known = IdKeys(), array("L"), dict[_Kind, int]()
    digest = hashlib.blake2b(digest_size=32)
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    for where, sample in located_samples(task):
        try:
            digest.update(encode(sample))
        except (TypeError, ValueError, OverflowError) as error:
            raise TaskError(f"sample {sample.id!r} holds what cannot be stored: {error}", where=where) from error
        keys.add(key(sample.id))
        kind = (sample.group, task.requires if sample.requires is None else sample.requires, task.box_for(sample))
        kinds.append(known.setdefault(kind, len(known)))
    keys.refuse_duplicates(task, key)
    if not keys.keys:
        raise TaskError("the data holds no samples", where=task.origin or task.name)
    payload = task_payload(task, n=len(keys.keys), digest=digest.hexdigest())
    identity = TaskIdentity(hash_payload(payload), payload, len(keys.keys))
    positions = smallest(keys.keys, limit)
    order = array("L", sorted(range(len(positions)), key=lambda place: keys.keys[positions[place]]))
    groups, needs = _counts(positions, kinds, list(known))
    return Survey(task, identity, positions, groups, needs, order)


def _counts(
    positions: Sequence[int], kinds: array[int], known: list[_Kind]
) -> tuple[dict[str, int], dict[tuple[tuple[str, ...], BoxNeeds | None], int]]:
    groups: dict[str, int] = {}
    needs: dict[tuple[tuple[str, ...], BoxNeeds | None], int] = {}
    for position in positions:
        group, required, box = known[kinds[position]]
        groups[group] = groups.get(group, 0) + 1
        needs[required, box] = needs.get((required, box), 0) + 1
    return groups, needs


def task_identity(task: Task) -> TaskIdentity:
    """The identity alone; a run uses `survey`, which reads the data only once for everything."""
    return survey(task).identity


def task_payload(task: Task, *, n: int, digest: str) -> dict[str, Any]:
    """What the hash is over. `digest` is over all samples; call after the source was read, so that it knows its
    checksum.
    """
    payload: dict[str, Any] = {"schema": SCHEMA, "name": task.name}
    payload |= {name: getattr(task, name) for name in _PLAIN_FIELDS if getattr(task, name) != _DEFAULTS[name]}
    if sampling := msgspec.to_builtins(task.sampling):
        payload["sampling"] = sampling
    if task.fewshot is not None and task.fewshot.n:
        payload["fewshot"] = _fewshot(task)
    if task.box != BoxNeeds():
        payload["box"] = _changed_fields(task.box)
    if isinstance(task, ExternalEval):
        payload["program"] = external_payload(task)
    payload["scorers"] = [_scorer(scorer) for scorer in task.scorers]
    if task.metrics:
        payload["metrics"] = [_named({"name": metric.name}, metric.params) for metric in task.metrics]
    if task.source is not None:
        payload["data"] = task.source.identity()
    payload["samples"] = {"n": n, "digest": digest}
    plain: dict[str, Any] = msgspec.json.decode(
        canonical_json(payload)
    )  # as it is stored: no tuples, no numbers of numpy
    return plain


def _fewshot(task: Task) -> dict[str, Any]:
    assert task.fewshot is not None
    examples = msgspec.msgpack.Encoder(order="deterministic").encode(load_fewshot(task))
    return {"n": task.fewshot.n, "examples": hashlib.blake2b(examples, digest_size=32).hexdigest()}


def _scorer(scorer: Scorer) -> dict[str, Any]:
    return _named({"name": scorer.name, "version": scorer.version}, scorer.params)


def _named(described: dict[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    return described | ({"params": dict(params)} if params else {})


def _changed_fields(value: Any) -> dict[str, Any]:
    """Fields of a dataclass that differ from their defaults, nested ones too."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if held == field.default:
            continue
        changed[field.name] = _changed_fields(held) if dataclasses.is_dataclass(held) else held
    return changed


def canonical_json(payload: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal values, equal bytes. Raises TaskError for what JSON cannot hold."""
    try:
        return msgspec.json.encode(payload, order="sorted")
    except (TypeError, ValueError) as error:
        raise TaskError(f"the task's identity holds what cannot be written down: {error}") from error


def hash_payload(payload: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(payload)).hexdigest()
