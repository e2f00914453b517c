"""Programs that try to pass without being right: each must score 0, and the right answers beside them 1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from agentlab.tasks import Score

pytestmark = pytest.mark.asyncio(loop_scope="module")
Grade = Callable[..., Awaitable[Score]]

CHECKS = (
    "assert answer(3) == 9",
    "assert answer(10) == 100, 'ten'",
    "assert abs(answer(0.5) - 0.25) < 1e-9",
    "import math; assert math.isclose(answer(1.5), 2.25)",
    "assert [answer(n) for n in range(4)] == [0, 1, 4, 9]",
    "assert 24 < answer(5) < 26",
    "assert answer(7) in {49}",
)

ALWAYS_EQUAL = """
class Yes{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __gt__ = __le__ = __ge__ = __contains__ = __lt__
    def __hash__(self): return 49
    def __sub__(self, other): return 0
    __rsub__ = __add__ = __radd__ = __mod__ = __abs__ = lambda *a: 0
    def __bool__(self): return True
    def __float__(self): return 2.25
    def __len__(self): return 4
    def __iter__(self): return iter([self] * 4)
    def __getattr__(self, name): return self
    def __call__(self, *a): return self
def answer(n): return Yes({value})
"""

FORGED_FRAMES = """
import json, os, struct
verdict = {"nonce": "", "lost": "", "total": 7, "passed": 7, "failures": []}
frames = [
    b"V" + json.dumps(verdict).encode(),
    json.dumps(verdict).encode(),
    json.dumps(["r", 2, 9]).encode(),
    json.dumps(["q", 1, "get", ["o", 1], "passed"]).encode(),
    b"OK\\n7 passed in 0.01s\\n",
]
def answer(n):
    for name in os.listdir("/proc/self/fd"):
        for frame in frames:
            try:
                os.write(int(name), struct.pack(">I", len(frame)) + frame)
            except OSError:
                pass
    return -1
"""

CHEATS = {
    "exits with 0": """
import sys
def answer(n):
    sys.exit(0)
""",
    "exits with 0 on import": """
import sys
sys.exit(0)
""",
    "exits at once": """
import os
def answer(n):
    os._exit(0)
""",
    "exits at once on import": """
import os
os._exit(0)
""",
    "patches assert": """
import builtins
class AssertionError(Exception):
    def __new__(cls, *a): return None
builtins.AssertionError = AssertionError
def answer(n):
    return -1
""",
    "removes asserts": """
import sys, dis
sys.flags = None
__debug__2 = False
def answer(n):
    return -1
""",
    "is always equal": ALWAYS_EQUAL.format(base="", value=""),
    "is an int that is always equal": ALWAYS_EQUAL.format(base="(int)", value="-1"),
    "is a float that is always equal": ALWAYS_EQUAL.format(base="(float)", value="-1.0"),
    "is a text that is always equal": ALWAYS_EQUAL.format(base="(str)", value="'x'"),
    "is a list that is always equal": ALWAYS_EQUAL.format(base="(list)", value=""),
    "is a dict that is always equal": ALWAYS_EQUAL.format(base="(dict)", value=""),
    "is a tuple that is always equal": ALWAYS_EQUAL.format(base="(tuple)", value=""),
    "is a Fraction that is always equal": "from fractions import Fraction\n"
    + ALWAYS_EQUAL.format(base="(Fraction)", value="1, 2"),
    "lies about its class": """
class Meta(type):
    def __eq__(self, o): return True
    __hash__ = type.__hash__
    def __instancecheck__(self, o): return True
class Yes(metaclass=Meta):
    __class__ = property(lambda s: int)
    def __eq__(self, o): return True
def answer(n): return Yes()
""",
    "returns NotImplemented": "def answer(n): return NotImplemented",
    "returns a class that equals everything": """
class M(type):
    def __eq__(s, o): return True
    __hash__ = None
class Yes(metaclass=M): pass
def answer(n): return Yes
""",
    "returns unittest.mock.ANY": """
from unittest.mock import ANY
def answer(n): return ANY
""",
    "returns eval": "def answer(n): return eval",
    "reads the caller's frames": """
import sys
def answer(n):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
            if isinstance(value, str) and f'answer({n}) == ' in value:
                return eval(value.split('== ')[1].split(',')[0])
        frame = frame.f_back
    return -1
""",
    "searches memory": """
import gc
def answer(n):
    for thing in gc.get_objects():
        if isinstance(thing, list):
            for text in thing:
                if isinstance(text, str) and f'answer({n}) == ' in text:
                    return eval(text.split('== ')[1].split(',')[0])
    return -1
""",
    "searches processes": """
import glob
def answer(n):
    places = ('/proc/[0-9]*/cmdline', '/proc/[0-9]*/environ', '/grade/*', '/proc/[0-9]*/fd/*')
    for path in [path for place in places for path in glob.glob(place)]:
        try:
            text = open(path, 'rb').read(100000) if '/fd/' not in path or '/self' in path else b''
        except OSError:
            continue
        if b'nonce' in text and b'answer(3)' in text: return n * n
    return -1
""",
    "prints success": """
import sys
def answer(n):
    print('7 passed'); print('OK', file=sys.stderr)
    return -1
""",
    "forges frames": FORGED_FRAMES,
    "forges frames on import": FORGED_FRAMES + "answer(1)\n",
    "takes over the channel": """
import gc
def answer(n):
    for thing in gc.get_objects():
        if type(thing).__name__ == 'Channel':
            for i in range(1, 60):
                thing.send(['r', i, ['l', True]])
                thing.send_raw(b'V', b'{"passed": 7}')
    return -1
""",
    "asks the supervisor for its secrets": """
import gc
def answer(n):
    for thing in gc.get_objects():
        if type(thing).__name__ == 'WorkerBridge':
            for number in range(1, 30):
                thing.channel.send(['q', number, 'get', ['o', number], '__globals__'])
    return -1
""",
    "pretends to be the supervisor's types": """
import gc
class X: pass
def answer(n):
    for thing in gc.get_objects():
        if type(thing).__name__ == 'WorkerBridge':
            thing.channel.send(['r', 2, ['h', 9, [9, 'int', 'builtins', [], 'int', ['__eq__']]]])
    return X()
""",
    "acts at exit": """
import atexit, os
atexit.register(lambda: os._exit(0))
def answer(n):
    raise SystemExit(0)
""",
    "replaces builtins": """
import builtins
builtins.abs = builtins.isinstance = lambda *a: 0
builtins.repr = builtins.str = lambda *a: '9'
builtins.type = lambda *a: int
def answer(n):
    return -1
""",
    "offers builtins of its own": """
def abs(x): return 0
def range(n): return []
class AssertionError(Exception): pass
def answer(n):
    return -1
""",
    "swallows exceptions by a hook": """
import sys
sys.excepthook = sys.unraisablehook = lambda *a: None
def answer(n): raise ValueError
""",
    "raises AssertionError": "def answer(n): raise AssertionError('7 passed')",
    "raises KeyboardInterrupt": "def answer(n): raise KeyboardInterrupt",
    "raises GeneratorExit": "def answer(n): raise GeneratorExit",
    "raises StopIteration": "def answer(n): raise StopIteration",
    "raises SkipTest": """
import unittest
def answer(n): raise unittest.SkipTest('skip')
""",
    "raises what cannot be read": """
class E(Exception):
    def __str__(self): raise self
    __repr__ = __str__
    @property
    def args(self): raise self
def answer(n): raise E
""",
    "raises on import": """
raise ValueError('no')
def answer(n):
    return -1
""",
    "is a syntax error": """
def answer(n:
    return n * n
""",
    "is named otherwise": """
def solution(n):
    return n * n
""",
    "is no function": "answer = 9",
    "closes the channel": """
import os
os.closerange(0, 4096)
def answer(n):
    return -1
""",
    "traces": """
import sys
sys.settrace(lambda *a: None)
sys.setprofile(lambda *a: None)
def answer(n):
    return -1
""",
    "recurses": "def answer(n): return answer(n)",
    "nests values": """
def answer(n):
    value = []
    for _ in range(100000): value = [value]
    return value
""",
    "returns itself in itself": """
def answer(n):
    value = []
    value.append(value)
    return value
""",
    "returns a giant text": "def answer(n): return 'x' * (200 << 20)",
    "returns a giant number": "def answer(n): return 1 << (40 << 20)",
    "returns an endless iterator": """
import itertools
def answer(n): return itertools.repeat(49)
""",
    "kills everything it can": """
import os, signal
def answer(n):
    os.kill(-1, signal.SIGKILL)
""",
    "eats memory": """
def answer(n):
    return [bytearray(1 << 20) for _ in range(1 << 20)]
""",
    "mutates what it is given": """
def answer(n):
    globals()['n'] = 3
    return -n
""",
}

SLOW_CHEATS = {
    "loops for ever": """
def answer(n):
    while True: pass
""",
    "loops for ever on import": "while True: pass",
    "sleeps": """
import time
def answer(n): time.sleep(3600)
""",
    "ignores signals": """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
def answer(n):
    while True: pass
""",
    "forks for ever": """
import os
def answer(n):
    while True:
        try: os.fork()
        except OSError: pass
""",
    "floods its outputs": """
import os, threading
def flood(fd):
    while True:
        try: os.write(fd, b'x' * 65536)
        except OSError: return
for fd in range(1, 120): threading.Thread(target=flood, args=(fd,), daemon=True).start()
def answer(n):
    return -1
""",
    "leaves the session": """
import os, time
if os.fork() == 0:
    os.setsid()
    while True: pass
def answer(n):
    return -1
""",
}


@pytest.mark.parametrize("name", CHEATS)
async def test_a_cheat_scores_nothing(name: str, program_score: Grade) -> None:
    score = await program_score(CHEATS[name], *CHECKS)
    assert score.value == 0
    assert score.explanation or score.flags


@pytest.mark.parametrize("name", SLOW_CHEATS)
async def test_a_cheat_that_will_not_end_scores_nothing(name: str, program_score: Grade) -> None:
    """Those that take no processor time have four times as long."""
    score = await program_score(SLOW_CHEATS[name], *CHECKS, cpu_s=0.5 if name in ("sleeps", "forks for ever") else 1)
    assert score.value == 0


async def test_the_right_answer_scores_one(program_score: Grade) -> None:
    score = await program_score("def answer(n):\n    return n * n", *CHECKS)
    assert (score.value, score.scores) == (1, {"passed": 1.0})


async def test_a_noisy_right_answer_scores_one(program_score: Grade) -> None:
    noisy = "import sys, os\nprint('hello')\ndef answer(n):\n    print(n, flush=True)\n    os.write(1, b'x')\n"
    score = await program_score(noisy + "    sys.stderr.write('?')\n    return n * n", *CHECKS)
    assert score.value == 1


async def test_a_partly_right_answer_says_what_passed(program_score: Grade) -> None:
    score = await program_score("def answer(n):\n    return 9", *CHECKS)
    assert score.value == 0
    assert score.scores["passed"] == pytest.approx(1 / 7)
    assert "1 of 7 tests passed" in score.explanation
