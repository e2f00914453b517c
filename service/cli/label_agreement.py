"""How agreement is printed: tables in the terminal, or one JSON document."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from agentlab.analysis.agreement import Agreement, Coefficient
from agentlab.service.cli.tables import console, number, print_table
from agentlab.service.labels.tables import CONSENSUS, Agreements, Judgements, Located, Pair, Unit
from agentlab.traces.render import clean

_RIGHT = frozenset({"traces", "steps", "agree", "given", "specific"})


def as_document(name: str, found: Judgements, measured: Agreements) -> str:
    """The whole as JSON; what is not defined is null."""
    return json.dumps(
        {
            "name": name,
            "steps": found.steps,
            "guides": sorted(found.guides),
            "annotators": {who: _traces(judged) for who, judged in sorted(found.people.items())},
            "machines": {who: _traces(judged) for who, judged in sorted(found.machines.items())},
            "settled": len(found.settled),
            "people": _as_fields(measured.people),
            "pairs": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "machine": pair.machine,
                    **_as_fields(pair.agreement),
                    "located": _as_located(pair.located),
                }
                for pair in measured.pairs
            ],
        }
    )


def _traces(judged: dict[Unit, str]) -> int:
    """In how many traces somebody judged something."""
    return len({unit[:3] for unit in judged})


def _as_located(found: Located | None) -> dict[str, Any] | None:
    if found is None:
        return None
    shares = {"same": _coefficient(found.same), "within_one": _coefficient(found.within_one)}
    return {"traces": found.traces, **shares}


def _as_fields(found: Agreement) -> dict[str, Any]:
    return {
        "traces": found.units,
        "raw": _coefficient(found.raw),
        "cohen": _coefficient(found.cohen),
        "fleiss": {**_coefficient(found.fleiss), "traces": found.fleiss_units},
        "alpha": _coefficient(found.alpha),
        "categories": [
            {
                "category": entry.category,
                "given": entry.given,
                "specific": _defined(entry.specific),
                "alpha": _coefficient(entry.alpha),
            }
            for entry in found.categories
        ],
    }


def _coefficient(found: Coefficient) -> dict[str, Any]:
    return {"value": _defined(found.value), "ci95": [_defined(found.low), _defined(found.high)]}


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def print_agreements(name: str, found: Judgements, measured: Agreements) -> None:
    """Who labelled how much, then the coefficients of everyone, of each two, and of each category."""
    out = console()
    who = ", ".join(f"{person} {_traces(judged)}" for person, judged in sorted(found.people.items())) or "nobody"
    what = "traces with labelled steps" if found.steps else "traces labelled"
    out.print(Text(clean(f"{name}: {what} by {who}; {len(found.settled)} settled by adjudication")))
    if len(found.guides) > 1:
        several = ", ".join(sorted(found.guides))
        out.print(Text(clean(f"these labels follow several guides: {several}"), style="yellow"))
    rows = []
    if len(found.people) > 2:
        rows.append(_row(f"all {len(found.people)} people", measured.people))
    rows += [_row(f"{pair.first} - {pair.second}", pair.agreement) for pair in measured.pairs]
    if not rows:
        out.print(Text("agreement needs two who labelled: a second annotator, or a classifier", style="dim"))
        return
    headings = ("who", "steps" if found.steps else "traces", "agree", "Cohen", "Fleiss", "Krippendorff")
    print_table(out, headings, rows, right=_RIGHT, spare=("Fleiss", "agree"))
    _print_located(measured.pairs)
    shown = [("people", measured.people)] if len(found.people) > 1 else []
    shown += [
        (f"{pair.first} - {pair.second}", pair.agreement)
        for pair in measured.pairs
        if pair.machine and (pair.first == CONSENSUS or len(found.people) == 1)
    ]
    for title, agreement in shown:
        if agreement.categories:
            _print_categories(title, agreement)


def _print_located(pairs: Sequence[Pair]) -> None:
    rows = [
        [f"{pair.first} - {pair.second}", str(found.traces), _cell(found.same), _cell(found.within_one)]
        for pair in pairs
        if (found := pair.located) is not None
    ]
    if rows:
        out = console()
        out.print(Text("\nof traces in which both marked a step, how often their first one is the same:"))
        print_table(out, ("who", "traces", "same", "within one"), rows, right=_RIGHT)


def _print_categories(title: str, found: Agreement) -> None:
    out = console()
    out.print(Text(clean(f"\n{title}, each category against the others:")))
    rows = [
        [entry.category, str(entry.given), _plain(entry.specific), _cell(entry.alpha)] for entry in found.categories
    ]
    print_table(out, ("category", "given", "specific", "Krippendorff"), rows, right=_RIGHT)


def _row(who: str, found: Agreement) -> list[str]:
    return [who, str(found.units), *(_cell(value) for value in (found.raw, found.cohen, found.fleiss, found.alpha))]


def _cell(found: Coefficient) -> str:
    if not math.isfinite(found.value):
        return "-"
    between = f" ({number(found.low)} to {number(found.high)})" if math.isfinite(found.low) else ""
    return number(found.value) + between


def _plain(value: float) -> str:
    return number(_defined(value))
