"""Detectors for tool calls and what the agent made of their answers."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator

from agentlab.traces.detectors.acts import Act
from agentlab.traces.detectors.endings import is_outage
from agentlab.traces.detectors.story import Evidence, Story, detector, quote

TIMES, FAILED_TIMES = 3, 2
"""The same call with the same answer so often is a loop; where the answer is an error, so often."""
LONG = 60
"""Characters of a message from which saying it again, word for word, tells something."""

_WAITS = re.compile(r"\b(?:sleep|wait|poll|scroll|next_page|screenshot|status|tail -f)\b", re.IGNORECASE)
_UNPARSED = re.compile(
    r"could not be parsed as a tool call|not (?:be )?formatted correctly|was not properly formatted"
    r"|arguments (?:do not fit|are no JSON)"
    r"|(?:missing|unexpected) (?:\d+ )?(?:required )?(?:keyword |positional )?(?:argument|parameter)"
    r"|got an unexpected keyword argument"
    r"|invalid (?:arguments|parameters|tool call|function call)|failed to parse (?:the )?(?:arguments|tool call)"
    r"|[Mm]alformed (?:tool|function) call"
    r"|\A(?:exitcode: \d+ \(execution failed\)\s*Code output:\s*)unknown language\s*\Z|\{\"error\": \"missing \w+"
    r"|\d+ validation errors? for|Usage: (?:edit|open|create|insert|search_\w+|find_file|goto)\b"
)
_UNPARSED_HINTS = (
    "pars",
    "format",
    "argument",
    "parameter",
    "alformed",
    "call",
    "validation",
    "Usage",
    "language",
    "missing",
)
"""One of these stands in whatever `_UNPARSED` finds: looking for them costs a tenth."""
_UNKNOWN = re.compile(
    r"^\W*(?:error\W*)?(?:there is no tool|unknown (?:tool|function|action)\b|(?:tool|function"
    r"|action) ['\"`]?\w+['\"`]? (?:not found|does not exist|is not (?:available|defined))"
    r"|no (?:such )?(?:tool|function) (?:named|called)?|invalid (?:tool|function) name)",
    re.IGNORECASE,
)
_SUCCESS = re.compile(
    r"\b(?:success(?:ful|fully)?|(?:has|have) been (?:\w+ly )?(?:updated|cancelled|canceled|modified|processed"
    r"|completed|booked|exchanged|returned|changed|submitted|verified|saved|created|fixed)"
    r"|all tests (?:now )?pass|(?:now )?works (?:as expected|correctly)|(?:is|was|are) (?:now )?(?:fixed|verified"
    r"|confirmed|complete)"
    r"|(?:the )?(?:code|script|command|execution) (?:ran|executed|worked))\b",
    re.IGNORECASE,
)
_ADMITS = re.compile(
    r"\b(?:errors?|fail(?:s|ed|ure|ing)?|unfortunately|issues?|unable|can(?:not|'t|’t)|could(?: not|n't|n’t)"
    r"|problems?|sorry|apolog\w+|not (?:found|available|possible|enough|allowed|supported|exist)"
    r"|does(?: not|n't|n’t)|did(?: not|n't|n’t)|isn't|wasn't|missing|incorrect|invalid|wrong|instead|however|retry"
    r"|try again|correct(?:ed|ion)|let'?s (?:try|fix|install|modify|use)|mistake"
    r"|seems? (?:that|like)|exceed\w*|insufficient|non-\w+|denied|exception|timed? ?out|another|alternative\w*)\b",
    re.IGNORECASE,
)


@detector("any", unlike="A test is run again after each change: the same command, but another world.")
def repeated_action(story: Story) -> Iterator[Evidence]:
    """The same call came back with the same answer three times with no change made between (twice in a row where the
    answer is an error), or one agent said the same long message three times.
    """
    seen: Counter[tuple[str, str]] = Counter()
    before = ("", "")
    for act in story.acts:
        if act.edits or act.effect.removes:
            seen.clear()
        if not act.key:
            continue
        same = (act.key, act.output)
        seen[same] += 1
        twice = act.error and same == before and seen[same] == FAILED_TIMES
        before = same
        if (twice or (seen[same] == TIMES and not act.error)) and not _is_waiting(act):
            yield Evidence(act.seq, quote(act.key.replace("\x00", ": ")))
    if len(story.turns) < TIMES:
        return
    said: Counter[tuple[str, str]] = Counter()
    for _, turn in story.turns:
        text = " ".join(turn.text.split())
        if len(text) >= LONG:
            said[turn.agent, text] += 1
            if said[turn.agent, text] == TIMES:
                yield Evidence(turn.seq, quote(text))


def _is_waiting(act: Act) -> bool:
    """Whether asking again is what one does: for something that takes its time, or after the place failed."""
    return _WAITS.search(act.key[:500]) is not None or is_outage(act.output)


@detector("any", unlike="A well-formed call that the tool refuses for what it asks: an order that is not there.")
def malformed_call(story: Story) -> Iterator[Evidence]:
    """A tool call that could not be read or whose arguments do not fit the tool: no JSON, an argument that is missing
    or unknown.
    """
    answered = {act.call.id for act in story.acts if act.call is not None}
    for act in story.acts:
        broken = act.call is not None and bool(act.call.error)
        if broken or act.refused == "bad_arguments" or _misunderstood(act):
            yield Evidence(act.seq, quote(act.error or act.output or (act.call.error if act.call else "")))
    for _, turn in story.turns:
        for call in turn.asks:
            if call.error and call.id not in answered:
                yield Evidence(turn.seq, quote(f"{call.name}: {call.error}"))
                break


def _misunderstood(act: Act) -> bool:
    """Whether a tool of another contract says so. What a program prints is its own affair."""
    head = act.output[:600]
    if not any(hint in head for hint in _UNPARSED_HINTS):
        return False
    found = _UNPARSED.search(head)
    return found is not None and (not act.command or found[0].startswith(("exitcode", "Usage: ")))


@detector("tools", unlike="`command not found` in a shell: the program is missing, the tool `bash` is not.")
def unknown_tool(story: Story) -> Iterator[Evidence]:
    """A call of a tool that the agent was not offered."""
    for act in story.acts:
        if act.refused == "unknown_tool" or (not act.command and _UNKNOWN.match(act.output[:200])):
            yield Evidence(act.seq, quote(act.output or act.tool))


@detector("tools", unlike="The agent tells its user that the call failed, or says so and tries another way.")
def tool_error_misread_or_ignored(story: Story) -> Iterator[Evidence]:
    """A tool answered with an error, and the agent's next words claim that it worked, or end the trial, without a word
    of the failure and without another try.
    """
    turns = dict(story.turns)
    for act, following in itertools.zip_longest(story.acts, story.acts[1:]):
        if not act.error or act.partial:
            continue
        end = following.place if following is not None else len(story.steps)
        said = next((turns[place] for place in range(act.place + 1, end) if place in turns), None)
        if said is None or not said.text.strip() or said.asks:
            continue
        if not _readable(said.text):
            continue
        tries = "```" in said.text
        claims = _SUCCESS.search(said.text) is not None or (said is story.last_turn and not tries)
        if claims and not _ADMITS.search(said.text):
            yield Evidence(said.seq, quote(f"after {act.error[:80]!r}: {said.text}"))


def _readable(text: str) -> bool:
    """Whether the words that are looked for could stand in it: they are English."""
    letters = [letter for letter in text[:1000] if letter.isalpha()]
    return sum(letter.isascii() for letter in letters) >= 0.9 * len(letters)


@detector("tools", unlike="A call fails, is corrected, and then succeeds.")
def error_never_recovered(story: Story) -> Iterator[Evidence]:
    """One tool's last calls failed, at least two of them or the trial's very last, and none succeeded after them; only
    in trials that did not pass. A failure of the place is no such error, nor is one that showed what was wanted.
    """
    if story.passed:
        return
    streaks: dict[str, list[Act]] = {}
    acts = [act for act in story.acts if not act.effect.submits and act.key]
    for act in acts:
        if act.error and is_outage(act.output):
            streaks.pop(act.tool, None)
        elif act.error and not act.partial and not _misunderstood(act):
            streaks.setdefault(act.tool, []).append(act)
        elif not act.command or act.runs or act.edits:
            streaks.pop(act.tool, None)
    for streak in streaks.values():
        last = streak[-1]
        if len(streak) >= 2 or last is acts[-1]:
            yield Evidence(last.seq, quote(last.error))
