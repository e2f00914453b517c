"""How far detectors and classifiers can be trusted, and how fast they are: one table, the bar beside each figure.

    .venv/bin/python benchmarks/classifiers.py [--data ../shared/data] [--resamples 2000] [--seeds 20] [--only PART]...

What people labelled is in `--data` (or AGENTLAB_DATA): XSTest, Do-Not-Answer, Who&When, AgentRx. Every figure is of
rows that nothing was fitted to: XSTest in five folds grouped by prompt, and fitted to one model's answers and judged on
the other's; Do-Not-Answer fitted to two models' and judged on the third's; Who&When and AgentRx in five folds by
question. Beside them what costs nothing: string match, a bag of words, the first step, the commonest label. Seeds are
fixed, and no model is called. The details of each part come first, the table last. Exits with 1 where a bar is missed.
Needs `agentlab-eval[analysis]`; a part whose data is absent is left out, and said to be, and so is `locate`, forty
trials with a thousand forks in boxes, unless it is asked for.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from checks.answers import actions, refusals
from checks.causes import causes
from checks.lines import Line, print_table
from checks.locate import locate
from checks.speed import speed
from detectors import alarms


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("AGENTLAB_DATA", "../shared/data")))
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=20, help="ways to cut the five folds of causes")
    parts: dict[str, tuple[str, Callable[[argparse.Namespace], list[Line]]]] = {
        "refusal": ("safety_xstest", lambda given: refusals(given.data, given.resamples)),
        "harm": ("safety_donotanswer", lambda given: actions(given.data, given.resamples)),
        "causes": ("traces_whowhen", lambda given: causes(given.data, given.seeds)),
        "detectors": ("traces_agentrx", lambda given: alarms(given.data)),
        "speed": ("", lambda given: speed()),
        "locate": ("", lambda given: locate(given.locate_each, given.locate_limit_s)),
    }
    parser.add_argument("--locate-each", type=int, default=20, help="planted steps of either kind")
    parser.add_argument("--locate-limit-s", type=float, default=1500.0, help="seconds after which none is begun")
    parser.add_argument("--only", action="append", choices=sorted(parts), help="this part; may be given several times")
    given = parser.parse_args()
    lines: list[Line] = []
    for name, (needed, part) in parts.items():
        if given.only and name not in given.only:
            continue
        if name == "locate" and not given.only:
            print("locate: left out, for it takes a quarter of an hour and boxes (--only locate)")
            continue
        if needed and not (given.data / needed).is_dir():
            print(f"{name}: left out, for there is no {given.data / needed} (--data or AGENTLAB_DATA names the data)")
            continue
        lines += part(given)
    print()
    print_table(lines)
    return int(any(line.met is False for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
