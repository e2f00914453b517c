"""The worker behind `equivalence`: reads one JSON request a line, answers with one JSON verdict a line.

The comparing is done by a child, which the operating system ends once it has used up its processor time; its parent
has loaded computer algebra already, and starts the next child in milliseconds. It only parses LaTeX; math-verify's
plain-expression extraction, which evaluates text as Python, is not used.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import signal
import sys
from typing import IO, Any

MEMORY_BYTES = 1 << 30
TIMER_SIGNALS = frozenset({int(signal.SIGPROF), int(signal.SIGXCPU)})


def main() -> None:
    """Serve until standard input closes. Standard output is kept for verdicts; what libraries print is lost."""
    verdicts = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    logging.disable(logging.CRITICAL)
    compare({"gold": "1", "answer": "2"})  # imports everything, so that no comparison pays for it
    _say(verdicts, {"ready": True})
    while True:
        child = os.fork()
        if not child:
            _serve(verdicts)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return
        # Ended by its timer; or else, most likely, for want of memory.
        _say(verdicts, {"verdict": "timeout" if -code in TIMER_SIGNALS else "unparsable"})


def _serve(verdicts: IO[str]) -> None:
    """Compare until standard input closes. There is one request at a time, so that none is lost with this process."""
    for line in sys.stdin:
        request = json.loads(line)
        # The default action of SIGPROF ends the process, also inside a long multiplication in C.
        signal.setitimer(signal.ITIMER_PROF, float(request["cpu_seconds"]))
        verdict = compare(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _say(verdicts, {"verdict": verdict})


def _say(stream: IO[str], message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def compare(request: dict[str, Any]) -> str:
    """`equal`, `different`, or `unparsable` where the answer has no meaning. Symmetric in the two otherwise."""
    from math_verify import LatexExtractionConfig, parse, verify

    def meaning(latex: str) -> list[Any]:
        with contextlib.suppress(Exception):  # any parser error means the same here: no meaning
            found: list[Any] = parse(
                f"\\boxed{{{latex}}}",
                extraction_config=[LatexExtractionConfig(boxed_match_priority=0)],
                extraction_mode="first_match",
                parsing_timeout=0,
            )
            return found
        return []

    gold, answer = meaning(request["gold"]), meaning(request["answer"])
    if not (gold and answer):
        return "different" if answer else "unparsable"
    try:
        # math-verify takes an inequality for an interval in one direction only.
        same = verify(gold, answer, timeout_seconds=0) or verify(answer, gold, timeout_seconds=0)
    except Exception:  # noqa: BLE001  a comparison that computer algebra gives up on is no equality
        return "different"
    return "equal" if same else "different"


if __name__ == "__main__":
    main()
