"""How a choice task is asked: by letter in a chat, by letter after raw text, or by log-likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Literal

from agentlab.models.protocol import Sampling
from agentlab.tasks.builtin._rows import Identified, Row, content_id
from agentlab.tasks.metrics import Metric
from agentlab.tasks.scorers.choice import choice
from agentlab.tasks.scorers.loglikelihood import choice_loglikelihood
from agentlab.tasks.types import FewShot, Sample, SampleSource, Task

STYLES: dict[str, dict[str, Any]] = {"raw": {"style": "raw"}, "loglikelihood": {"style": "loglikelihood"}}
"""Variants of every choice task. `raw` is for base models: text to continue, best with a few shots."""

CHAT_PROMPT = (
    "{input}\n\n{choices}\n\nThink first if that helps. End your reply with a line of the form "
    '"Answer: X", where X is {letters}.'
)
RAW_PROMPT = "Question: {input}\n{choices}\nAnswer:"
CLOZE_PROMPT = "Question: {input}\nAnswer:"
RAW_SAMPLING = Sampling(max_tokens=8, stop=("\n", "Question:"))


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its choices, and the index of the right one."""

    question: str
    choices: tuple[str, ...]
    gold: int
    cluster: str = ""
    group: str = ""
    cloze: tuple[str, tuple[str, ...]] | None = None
    """Prompt and continuations for log-likelihoods, where they are not the question and its choices."""


def choice_task(
    source: SampleSource,
    read: Callable[[Row], Item | None],
    *,
    style: str,
    licence: str,
    paper: str,
    cloze: str = CLOZE_PROMPT,
    headline: Literal["acc", "acc_norm"] = "acc",
    examples: SampleSource | None = None,
    metrics: tuple[Metric, ...] = (),
) -> Task:
    """A choice task in one of three styles.

    `cloze` is the raw prompt for log-likelihoods: where it shows `{choices}` letters are compared, else the choices'
    texts. `examples` is where worked examples come from (`TASK:5shot`). Raises ValueError for an unknown style.
    """
    if style not in ("chat", "raw", "loglikelihood"):
        raise ValueError(f"style: {style!r} is none of chat, raw, loglikelihood")

    def key(row: Row) -> str:
        item = read(row)
        return "" if item is None else content_id(item.question, *item.choices)

    def to_sample(row: Row) -> Sample | None:
        item = read(row)
        return None if item is None else _sample(item, row["id"], style)

    loglikelihood = style == "loglikelihood"
    return Task(
        source=Identified(source, key),
        to_sample=to_sample,
        prompt={"chat": CHAT_PROMPT, "raw": RAW_PROMPT}.get(style, cloze),
        prompt_mode="chat" if style == "chat" else "raw",
        method="loglikelihood" if loglikelihood else "generate",
        sampling=RAW_SAMPLING if style == "raw" else Sampling(),
        fewshot=None if examples is None else FewShot(Identified(examples, key), 0),
        scorers=(choice_loglikelihood(headline=headline) if loglikelihood else choice(),),
        metrics=metrics,
        licence=licence,
        paper=paper,
    )


def _sample(item: Item, identifier: str, style: str) -> Sample:
    question, choices = item.question, item.choices
    if style == "loglikelihood" and item.cloze is not None:
        question, choices = item.cloze
    if len(choices) > len(ascii_uppercase):
        raise ValueError(f"{len(choices)} choices; there are 26 letters")
    letter = ascii_uppercase[item.gold]
    return Sample(
        id=identifier,
        input=question,
        target=letter,
        choices=choices,
        cluster=item.cluster,
        group=item.group,
        solution=f"Answer: {letter}" if style == "chat" else None,
    )
