"""What a step looks like among the others of its trace, in figures that mean the same in any system of agents.

None of them knows a task, an agent's full name or an answer: they tell where a step stands, who speaks and how often,
what is new in it, what it claims without having looked, and what came of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from itertools import accumulate
from math import log1p

from agentlab.traces.causes.moments import Moment

VERSION = 1
"""Raised whenever a feature changes: weights serve only the version that they were fitted to."""

_NEAR = 6
"""How many steps before or after are looked at for repetition and doubt."""


def _vocabulary(words: str) -> frozenset[str]:
    return frozenset(words.split())


_HEDGES = _vocabulary(
    "assume assuming assumed assumption hypothetical hypothetically likely probably might perhaps presumably suppose "
    "simulate simulated placeholder mock sample illustrative approximately roughly estimate estimated unclear unable "
    "cannot manually dummy fictional pretend guess"
)
_DOUBTS = _vocabulary(
    "incorrect incorrectly wrong mistake mistaken error errors failed fails issue issues problem apologize sorry "
    "however missing discrepancy inconsistent unexpected invalid oversight misunderstanding correction"
)
_CHECKS = _vocabulary(
    "verify verified verifying verification validate validated validating validation confirm confirmed confirms check "
    "checked checking ensure accurate accuracy review reviewed"
)
_PLANS = _vocabulary("plan steps step first next then proceed begin start following approach")
_ENDS = _vocabulary("terminate final answer conclusion therefore thus result completed solved done")
_CLAIMS = _vocabulary("found identified located obtained determined according based shows indicates provided")
_REQUESTS = _vocabulary("please could would you your")
_VERIFIERS = ("verif", "validat", "check", "review", "critic", "judge", "test")
_CHANGES = (
    *("update", "modify", "cancel", "delete", "remove", "create", "return", "exchange", "book", "send", "submit"),
    *("write", "edit", "insert", "replace", "transfer"),
)
_LEADERS = ("orchestrat", "manager", "planner", "coordinat", "supervis", "leader")


class Scene:
    """What the features of all steps of one trace are read from."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        self.moments = moments
        self.suspects = [place for place, moment in enumerate(moments) if moment.suspect]
        agents = [moments[place] for place in self.suspects if not moments[place].person]
        self.turns = Counter(moment.speaker for moment in agents)
        self.order = list(self.turns)
        """The agents as they first spoke."""
        self.most_turns = max(self.turns.values(), default=0)
        self.all_turns = sum(self.turns.values())
        self.mean_length = sum(log1p(moment.length) for moment in agents) / max(1, len(agents))
        self.final = next((moment for moment in reversed(agents) if len(moment.words) > 3), None)
        """The last thing of substance that an agent said: what the run came to."""
        self.last_speaker = agents[-1].speaker if agents else ""
        self.new: list[Set[str]] = []
        """The words of each moment that were not said before."""
        known: set[str] = set()
        for moment in moments:
            self.new.append(moment.words - known)
            known |= self.new[-1]
        self.first_called: dict[str, int] = {}
        for place, moment in enumerate(moments):
            for call in moment.step.asks:
                self.first_called.setdefault(call.name.lower(), place)
        self.errors = [moment.failed and moment.machine for moment in moments]
        nothing: Set[str] = frozenset()
        self.task = moments[0].words if moments else nothing
        answer = self.final.words if self.final else nothing
        self.new_in_answer = [len(new & answer) if place else 0 for place, new in enumerate(self.new)]
        numbers = self.final.numbers if self.final else nothing
        self.numbers_in_answer = [len(new & numbers) for new in self.new]
        # Sums that every step asks for.
        self.all_in_answer, self.all_numbers_in_answer = sum(self.new_in_answer), sum(self.numbers_in_answer)
        self.first_error = next((place for place, failed in enumerate(self.errors) if failed), len(moments))
        self.errors_until = list(accumulate(self.errors, initial=0))
        self._alike: dict[tuple[int, int], float] = {}

    def alike(self, one: int, other: int) -> float:
        """Jaccard similarity of the words of two moments; each pair is looked at from both its ends."""
        pair = (one, other) if one < other else (other, one)
        found = self._alike.get(pair)
        if found is None:
            words, others = self.moments[one].words, self.moments[other].words
            shared = len(words & others)
            found = self._alike[pair] = shared / max(1, len(words) + len(others) - shared)
        return found


def feature_rows(scene: Scene) -> list[dict[str, float]]:
    """One row for each suspect of the scene, in order; all rows have the same names in the same order. What is so or
    not is True or False, which count as 1 and 0.
    """
    rows = []
    spoken: Counter[str] = Counter()
    for number, place in enumerate(scene.suspects):
        moment = scene.moments[place]
        row = _position(scene, number, place, spoken[moment.speaker])
        row |= _speaker(scene, place, spoken[moment.speaker])
        row |= _form(scene, place)
        row |= _consequences(scene, place)
        row |= _novelty(scene, place)
        row |= _wording(scene, number, place)
        rows.append(row)
        spoken[moment.speaker] += 1
    return rows


def _position(scene: Scene, number: int, place: int, before: int) -> dict[str, float]:
    relative = number / max(1, len(scene.suspects) - 1)
    return {
        "first": number == 0,
        "second": number == 1,
        "third": number == 2,
        "last": number == len(scene.suspects) - 1,
        "relative": relative,
        "relative_squared": relative**2,
        "log_place": log1p(number),
        "speakers_first": before == 0,
        "speakers_first_after_opening": before == 0 and number > 0,
    }


def _speaker(scene: Scene, place: int, before: int) -> dict[str, float]:
    moment = scene.moments[place]
    name = moment.speaker.lower()
    turns = scene.turns[moment.speaker]
    rank = scene.order.index(moment.speaker) if turns else -1
    return {
        "speaker_share": turns / max(1, scene.all_turns),
        "speaker_most_turns": turns == scene.most_turns and turns > 0,
        "speaker_opens": rank == 0,
        "speaker_second": rank == 1,
        "speaker_later": rank >= 2,
        "speaker_opens_again": rank == 0 and before > 0,
        "speaker_only": len(scene.order) == 1,
        "speaker_ends": moment.speaker == scene.last_speaker,
        "speakers_last": before + 1 == turns,
        "speaker_verifies": any(part in name for part in _VERIFIERS),
        "speaker_leads": any(part in name for part in _LEADERS),
        "person": moment.person,
    }


def _form(scene: Scene, place: int) -> dict[str, float]:
    moment = scene.moments[place]
    length = log1p(moment.length)
    tools = [call.name.lower() for call in moment.step.asks]
    return {
        "log_length": length / 8,
        "longer_than_mean": length - scene.mean_length,
        "short": len(moment.words) < 6,
        "code": moment.code > 0,
        "code_share": moment.code / max(1, moment.length),
        "log_code": log1p(moment.code) / 8,
        "calls": len(moment.step.asks) > 0,
        "calls_for_change": any(part in name for name in tools for part in _CHANGES),
        "calls_new_tool": any(scene.first_called[name] == place for name in tools),
    }


def _consequences(scene: Scene, place: int) -> dict[str, float]:
    moments, moment = scene.moments, scene.moments[place]
    before = moments[place - 1] if place else None
    after = moments[place + 1] if place + 1 < len(moments) else None
    answered = after is not None and after.machine
    failed = answered and scene.errors[place + 1]
    told = before is not None and before.machine
    talk = [later for later in range(place + 1, min(place + 1 + _NEAR, len(moments))) if not moments[later].machine]
    doubt = [len(moments[later].words & _DOUBTS) for later in talk[:2]]
    return {
        "next_machine": answered,
        "next_error": failed,
        "next_first_error": failed and scene.first_error > place,
        "next_terse": answered and after is not None and after.length < 60,
        "code_fails": failed and moment.code > 0,
        "code_runs": answered and not failed and moment.code > 0,
        "code_not_run": moment.code > 0 and not answered,
        "previous_machine": told,
        "previous_person": before is not None and before.person,
        "previous_error": told and scene.errors[place - 1],
        "errors_before": scene.first_error < place,
        "errors_after": (scene.errors_until[-1] - scene.errors_until[place + 1]) / len(moments),
        "tells_of_error": moment.failed,
        "speaks_again": before is not None and before.speaker == moment.speaker,
        "doubted_next": log1p(doubt[0]) if doubt and not answered else 0.0,
        "doubted_soon": log1p(max(doubt, default=0)),
        "repeated_later": max((scene.alike(place, later) for later in talk), default=0.0),
        "is_final": moment is scene.final,
    }


def _novelty(scene: Scene, place: int) -> dict[str, float]:
    moments, moment = scene.moments, scene.moments[place]
    earlier = range(max(0, place - _NEAR), place)
    alike = [(scene.alike(place, other), moments[other].speaker == moment.speaker) for other in earlier]
    new = scene.new[place]
    numbers = moment.numbers & new
    looked = place > 0 and moments[place - 1].machine
    soon = moments[place + 1 : place + 1 + 2 * _NEAR]
    used = sum(any(number in later.numbers for later in soon) for number in numbers)
    opening = place == 0
    return {
        "repeats_own": max((likeness for likeness, own in alike if own), default=0.0),
        "repeats_any": max((likeness for likeness, _ in alike), default=0.0),
        "of_the_task": 0.0 if opening else len(moment.words & scene.task) / max(1, len(moment.words)),
        "words_new": 0.0 if opening else len(new) / max(1, len(moment.words)),
        "numbers_new": 0.0 if opening else log1p(len(numbers)),
        "numbers_from_nowhere": 0.0 if opening or looked or moment.code else log1p(len(numbers)),
        "numbers_used_later": 0.0 if opening else used / max(1, len(numbers)),
        "brings_answer": 0.0 if opening else scene.new_in_answer[place] / max(1, scene.all_in_answer),
        "brings_numbers": 0.0 if opening else scene.numbers_in_answer[place] / max(1, scene.all_numbers_in_answer),
    }


def _wording(scene: Scene, number: int, place: int) -> dict[str, float]:
    moment = scene.moments[place]
    opening = place == 0
    looked = place > 0 and scene.moments[place - 1].machine

    def tells(vocabulary: frozenset[str]) -> float:
        return 0.0 if opening or moment.words.isdisjoint(vocabulary) else log1p(len(moment.words & vocabulary))

    soon = scene.moments[place + 1 : place + 1 + _NEAR]
    names = [name.lower() for name in scene.order if name != moment.speaker]
    claims = tells(_CLAIMS)
    return {
        "hedges": tells(_HEDGES),
        "doubts": tells(_DOUBTS),
        "checks": tells(_CHECKS),
        "plans": tells(_PLANS),
        "end": tells(_ENDS),
        "claims": claims,
        "claims_without_looking": 0.0 if looked or moment.code else claims,
        "requests": tells(_REQUESTS),
        "names_others": 0.0 if opening else sum(name in moment.text for name in names) / 2,
        "named_next": any(moment.speaker.lower() in later.text for later in soon),
        "opening_code": opening and moment.code > 0,
        "opening_length": log1p(moment.length) / 8 if opening else 0.0,
    }
