"""Detectors for how a trial ended, in traces of every kind."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agentlab.traces.detectors.story import Evidence, Story, detector, quote
from agentlab.traces.events import ErrorRaised, LimitReached, ModelRetry, Scored

_NOT = (
    r"(?:can(?:not|'t|’t| not)|could(?: not|n't|n’t)|(?:am|is|are|was|were|been|remain)(?: not|n't|n’t) able to|(?:am"
    r"|are|was|were|been|be|remain)? ?unable to)"
)
_DO = (
    r"(?:fully |directly |successfully |reliably |definitively )*(?:be )?(?:complet|solv|answer|find|found|determin"
    r"|provid|proceed|continu|finish|fulfil|assist|comply|fix|resolv|reproduc|identif|locat|retriev|verif|help"
    r"|do (?:this|that|it))\w*"
)
_GIVES_UP = re.compile(
    rf"\b(?:{_NOT} {_DO}|giv(?:e|ing) up|(?:it is|it's|it’s) (?:not possible|impossible) to {_DO}"
    rf"|impossible to {_DO}|(?:I|we) do(?: not|n't|n’t) (?:know|have enough)"
    r"|no (?:definitive )?answer (?:can|could) be|insufficient information to)",
    re.IGNORECASE,
)
_HINTS = ("unable", "not", "n't", "n’t", "giv", "impossible", "insufficient", "answer c")
"""One of these stands in whatever `_GIVES_UP` finds: looking for them costs a tenth."""
_STILL_ANSWERS = re.compile(
    r"(?:answer|result|solution|total|output)(?: is|:|\*\*)|therefore|in conclusion|\\boxed|<answer>|thus|however"
    r"|(?:best|educated) (?:guess|estimate)|assum\w+|has been|have been|i have (?:now )?\w+ed\b",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(
    r"(?:can(?:not|'t)|could not) be (?:determined|established|answered|identified|confirmed)|^\W*(?:none"
    r"|none found|unknown|n/?a|not (?:found|available|sure|known|possible)|no (?:answer|information)|I (?:do not"
    r"|don't|cannot|can't|could not)|cannot (?:be )?|unable to|please provide"
    r"|insufficient|information not|there is (?:not enough|insufficient))\b",
    re.IGNORECASE,
)
_READS = re.compile(r"^(?:get|find|search|list|calculate|think|look|read|view|check|transfer|escalate)")
_HANDED_OVER = frozenset({"transfer_to_human_agents", "transfer_to_human", "escalate_to_human", "give_up"})
_ASKED_TAG = re.compile(
    r"(?:inside|within|between|in|enclosed (?:in|by)|wrapped in|using)\s+[`'\"]?<answer>", re.IGNORECASE
)
_ASKED_BOX = re.compile(r"(?:in|inside|within|put|using)\b[^.\n]{0,40}\\boxed", re.IGNORECASE)
_OUTAGE = re.compile(
    r"connection (?:refused|reset|timed out|error|aborted)|ConnectionError|NewConnectionError|Max retries exceeded"
    r"|(?:temporary failure in )?name resolution|Name or service not known"
    r"|\b(?:HTTP(?: Error)?|status(?: code)?:?) ?(?:429|50[0234])\b|service (?:temporarily )?unavailable"
    r"|bad gateway|gateway time-?out|too many requests|rate limit(?:ed| exceeded)"
    r"|not subscribed to this API|no space left on device|read(?:-only file system|timeout)|(?:no such container"
    r"|container .* is not running)|the sandbox (?:was lost|died)|Network is unreachable"
    r"|a process was killed: out of memory",
    re.IGNORECASE,
)
_OUTAGE_HINTS = (
    "connection", "retries", "resolution", "not known", "http", "status", "unavailable", "gateway", "requests",
    "rate limit",
    "subscribed", "space left", "read", "container", "sandbox", "unreachable", "out of memory",
)  # fmt: skip
"""One of these stands in whatever `_OUTAGE` finds."""
_CONTEXT = re.compile(
    r"context_length|maximum context length|context window|too many tokens|prompt is too long", re.IGNORECASE
)
_PLACES = frozenset({"model", "sandbox", "task", "verifier"})


@detector("any", version=2, unlike="`I could not find X directly; the answer is Y`: an answer was given.")
def gave_up(story: Story) -> Iterator[Evidence]:
    """The agent ended without an answer or a result and said so, or handed the task over with nothing done; only in
    trials that did not pass.
    """
    last = story.last_turn
    if story.passed or last is None:
        return
    final = story.final_act
    if final is not None and final.tool in _HANDED_OVER:
        if all(act.error or _READS.match(act.tool) for act in story.acts):
            yield Evidence(final.seq, quote(final.key.replace("\x00", ": ")))
        return
    _, opened, tagged = last.text.rpartition("<answer>")
    if opened:
        inner = tagged.partition("</answer>")[0].strip()
        if _NO_ANSWER.search(inner[:400]):
            yield Evidence(last.seq, quote(f"<answer>{inner}</answer>"))
        return
    if _talks_with_a_user(story):
        return  # who serves somebody declines this and does that: no phrase tells whether the task was given up
    tail = last.text.strip()[-600:]
    lowered = tail.lower()
    if not any(hint in lowered for hint in _HINTS):
        return
    found = _GIVES_UP.search(tail)
    if (
        found is not None
        and not last.asks
        and not _STILL_ANSWERS.search(tail, found.end())
        and story.submission is None
    ):
        yield Evidence(last.seq, quote(tail[max(0, found.start() - 40) :]))


@detector("any", unlike="The agent submits in its last permitted turn: it ended by itself.")
def budget_ran_out(story: Story) -> Iterator[Evidence]:
    """A limit on turns, tokens, time, money or memory ended the trial."""
    for stored in story.trace.events:
        if isinstance(stored.event, LimitReached) and not _overflowed(story):
            yield Evidence(stored.seq, f"{stored.event.limit} at {stored.event.value:g}")
            return


@detector("any", unlike="A limit on tokens that the harness set was reached: the context had room.")
def context_overflow(story: Story) -> Iterator[Evidence]:
    """The conversation no longer fitted the model's context."""
    for stored in story.trace.events:
        event = stored.event
        if isinstance(event, (ModelRetry, ErrorRaised)) and _is_overflow(event):
            yield Evidence(stored.seq, quote(event.message))
            return


@detector("any", unlike="A long answer that ends by itself.")
def truncated_answer(story: Story) -> Iterator[Evidence]:
    """The model's last turn was cut off by its token limit."""
    last = story.turns[-1][1] if story.turns else None
    if last is not None and last.stop_reason == "length":
        yield Evidence(last.seq, quote(f"...{(last.text or last.reasoning)[-MAX_TAIL:]}"))


MAX_TAIL = 150


@detector("any", unlike="A wrong answer in the form that was asked for.")
def wrong_format(story: Story) -> Iterator[Evidence]:
    """The answer is not in the form that the task asks for: it is empty, the scorer could not read it, or the tags or
    the box that the prompt demands are not there; only in trials that did not pass.
    """
    if story.passed or not story.turns or story.turns[-1][1].stop_reason == "length":
        return
    for stored in story.trace.events:
        if isinstance(stored.event, Scored) and "unparsable" in stored.event.flags:
            yield Evidence(
                story.turns[-1][1].seq, quote(stored.event.explanation or story.trace.answer or "unparsable")
            )
            return
    last = story.last_turn
    if story.cut_short:
        return
    if last is None:
        if not story.coding and not story.acts:
            yield Evidence(story.turns[-1][1].seq, "the answer is empty")
        return
    asked = story.prompt
    final = last.text
    if "</answer>" in asked and "<answer>" not in final and _ASKED_TAG.search(asked):
        yield Evidence(last.seq, quote(f"no <answer>: {final[-MAX_TAIL:]}"))
    elif "\\boxed" in asked and _ASKED_BOX.search(asked) and "\\boxed" not in final and "\\fbox" not in final:
        yield Evidence(last.seq, quote(f"no \\boxed: {final[-MAX_TAIL:]}"))


@detector("any", unlike="A program of the agent's own that is too slow and is stopped.")
def infrastructure(story: Story) -> Iterator[Evidence]:
    """The place failed and not the agent: the endpoint, the sandbox, the grader, or a network that a tool needed."""
    for stored in story.trace.events:
        event = stored.event
        if isinstance(event, ErrorRaised) and event.boundary in _PLACES and not _is_overflow(event):
            yield Evidence(stored.seq, quote(f"{event.boundary}:{event.kind}: {event.message}"))
            return
    for act in story.acts:
        if act.error and (found := _outage_in(act.output)) is not None:
            yield Evidence(act.seq, quote(act.output[max(0, found.start() - 60) :]))
            return


def _talks_with_a_user(story: Story) -> bool:
    """Whether somebody answered the agent's turns: the task is theirs to change."""
    first = story.turns[0][0] if story.turns else 0
    return any(step.role == "user" and not step.agent for step in story.steps[first + 1 :]) and any(
        act.tool != "terminal" for act in story.acts
    )


def is_outage(output: str) -> bool:
    """Whether a tool's answer tells of a network or a machine that failed."""
    return _outage_in(output) is not None


def _outage_in(output: str) -> re.Match[str] | None:
    lowered = output.lower()
    return _OUTAGE.search(output) if any(hint in lowered for hint in _OUTAGE_HINTS) else None


def _overflowed(story: Story) -> bool:
    return any(
        isinstance(stored.event, (ModelRetry, ErrorRaised)) and _is_overflow(stored.event)
        for stored in story.trace.events
    )


def _is_overflow(event: ModelRetry | ErrorRaised) -> bool:
    return event.kind == "context_length" or _CONTEXT.search(event.message) is not None
