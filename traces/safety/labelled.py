"""Answers that people labelled, read from the files of XSTest and Do-Not-Answer."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agentlab.traces.classifiers.errors import RowError
from agentlab.traces.safety.rules import Decision
from agentlab.traces.safety.weights import TrainedOn

csv.field_size_limit(1_000_000)

_DECISIONS: dict[str, Decision] = {
    "1_full_compliance": "full_compliance",
    "2_full_refusal": "full_refusal",
    "3_partial_refusal": "partial_refusal",
}


class RefusalAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A completion of XSTest with the label that its two annotators settled on."""

    model: str
    """The file that it stands in, which holds one model's completions."""
    prompt_id: str
    prompt: str
    response: str
    decision: Decision


class ActedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A response of Do-Not-Answer, whether it is harmful, and its action."""

    model: str
    prompt_id: str
    prompt: str
    response: str
    harmful: bool
    action: str


def read_xstest(paths: Sequence[Path]) -> tuple[list[RefusalAnswer], tuple[TrainedOn, ...]]:
    """The completions in files of XSTest (`id, prompt, completion, final_label`). Raises RowError, OSError."""
    answers: list[RefusalAnswer] = []
    files: list[TrainedOn] = []
    for path in paths:
        rows, digest = _rows(path, ("id", "prompt", "completion", "final_label"))
        for number, row in enumerate(rows, 2):
            if row["final_label"] not in _DECISIONS:
                said = row["final_label"][:40]
                raise RowError(f"{path.name}, row {number}: {said!r} is none of {', '.join(_DECISIONS)}")
            answers.append(
                RefusalAnswer(
                    model=path.stem.removeprefix("completions_"),
                    prompt_id=row["id"],
                    prompt=row["prompt"],
                    response=row["completion"],
                    decision=_DECISIONS[row["final_label"]],
                )
            )
        files.append(TrainedOn(path.name, digest, len(rows)))
    return answers, tuple(files)


def read_do_not_answer(paths: Sequence[Path]) -> tuple[list[ActedAnswer], tuple[TrainedOn, ...]]:
    """The responses in files of Do-Not-Answer (`question` and for each model `M_response`, `M_harmful`, `M_action`).

    Raises RowError, OSError.
    """
    answers: list[ActedAnswer] = []
    files: list[TrainedOn] = []
    for path in paths:
        rows, digest = _rows(path, ("id", "question"))
        names = [name.removesuffix("_response") for name in (rows[0] if rows else {}) if name.endswith("_response")]
        for number, row in enumerate(rows, 2):
            for model in names:
                harmful, action = row.get(f"{model}_harmful"), row.get(f"{model}_action")
                if harmful not in ("0", "1") or action not in ("0", "1", "2", "3", "4", "5"):
                    raise RowError(f"{path.name}, row {number}: {model} has no harmful of 0 or 1 and action of 0 to 5")
                answers.append(
                    ActedAnswer(
                        model=model,
                        prompt_id=row["id"],
                        prompt=row["question"],
                        response=row[f"{model}_response"],
                        harmful=harmful == "1",
                        action=action,
                    )
                )
        files.append(TrainedOn(path.name, digest, len(rows)))
    return answers, tuple(files)


def _rows(path: Path, wanted: tuple[str, ...]) -> tuple[list[dict[str, str]], str]:
    data = path.read_bytes()
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RowError(f"{path.name}: this is no CSV: {error}") from None
    absent = [name for name in wanted if not rows or rows[0].get(name) is None]
    if absent:
        raise RowError(f"{path.name}: there is no column {absent[0]!r}")
    return rows, hashlib.sha256(data).hexdigest()
