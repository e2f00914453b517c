"""What a right program may return and do: values, objects and calls mean what they mean in one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from agentlab.tasks import Score

pytestmark = pytest.mark.asyncio(loop_scope="module")
Grade = Callable[..., Awaitable[Score]]

LITERALS = [
    "None",
    "True",
    "-0.0",
    "10**400",
    "-(2**53)",
    "float('inf')",
    "1e-320",
    "2 - 3j",
    "'\\ud800 \\x00 \\U0001f600'",
    "b'\\x00\\xff'",
    "bytearray(b'ab')",
    "[1, [2, (3, {4: {5}})], frozenset({6})]",
    "{(1, 2): 'a', None: [], 1.5: {}}",
    "range(2, 10, 3)",
    "slice(1, None)",
    "...",
    "int",
    "ValueError",
    "type(None)",
    "__import__('fractions').Fraction(2, 3)",
    "__import__('decimal').Decimal('1.10')",
    "__import__('collections').deque([1, 2], maxlen=3)",
    "__import__('collections').Counter('abca')",
    "__import__('collections').OrderedDict(a=1)",
    "__import__('datetime').datetime(2024, 2, 29, 12, 30, tzinfo=__import__('datetime').timezone.utc)",
    "__import__('datetime').timedelta(days=2, seconds=3)",
    "__import__('pathlib').Path('a/b')",
    "__import__('uuid').UUID(int=5)",
]


async def test_literals_cross_both_ways_unchanged(program_score: Grade) -> None:
    checks = [f"assert answer({text}) == ({text}) and type(answer({text})) is type({text})" for text in LITERALS]
    nan = "value = answer(float('nan')); assert value != value"
    sign = "import math; assert math.copysign(1, answer(-0.0)) == -1"
    score = await program_score("def answer(x): return x", *checks, nan, sign)
    assert score.value == 1, score.explanation


RETURNED = {
    "generator": (
        """
def answer():
    yield from (1, 2, 3)
""",
        """
assert list(answer()) == [1, 2, 3]
""",
    ),
    "endless generator": (
        """
import itertools
def answer():
    return itertools.count(5)
""",
        """
import itertools
assert list(itertools.islice(answer(), 3)) == [5, 6, 7]
""",
    ),
    "map": (
        """
def answer():
    return map(str, [1, 2])
""",
        """
assert sorted(answer()) == ['1', '2']
""",
    ),
    "dictionary views": (
        """
def answer():
    d = {'a': 1}
    return d.keys(), d.values(), d.items()
""",
        """
k, v, i = answer()
assert k == {'a'} and list(v) == [1] and i == {('a', 1)}
""",
    ),
    "named tuple": (
        """
from collections import namedtuple
Point = namedtuple('Point', 'x y')
def answer():
    return Point(1, 2)
""",
        """
p = answer()
assert p == (1, 2) and p.x == 1 and p._replace(y=5) == (1, 5) and isinstance(p, tuple)
""",
    ),
    "text of its own class": (
        """
class Word(str):
    def shout(self): return self.upper() + '!'
def answer(): return Word('a')
""",
        """
w = answer()
assert w == 'a' and w.shout() == 'A!' and {w: 1}['a'] == 1 and 'xay'.find(w) == 1
""",
    ),
    "number of its own class": (
        """
import enum
class Size(enum.IntEnum):
    BIG = 3
def answer(): return Size.BIG
""",
        """
s = answer()
assert s == 3 and s + 1 == 4 and s.name == 'BIG' and [0, 1, 2, 7][s] == 7
""",
    ),
    "defaultdict": (
        """
from collections import defaultdict
def answer():
    d = defaultdict(list)
    d['a'].append(1)
    return d
""",
        """
assert answer() == {'a': [1]} and isinstance(answer(), dict)
""",
    ),
    "list of its own class": (
        """
class Stack(list):
    def push(self, x): self.append(x)
    def top(self): return self[-1]
stack = Stack()
def answer(): return stack
""",
        """
s = answer()
s.push(1)
s.append(2)
assert s == [1, 2]
assert len(s) == 2
assert s.top() == 2
assert s.pop() == 2
assert s == [1]
assert [1] == s
assert 1 in s
assert s[0] == 1
assert list(s) == [1]
assert s + [3] == [1, 3]
assert s is answer()
""",
    ),
    "dictionary of its own class": (
        """
class Table(dict):
    def __missing__(self, key): return key * 2
def answer(): return Table(a=1)
""",
        """
t = answer()
assert t == {'a': 1}
assert t['b'] == 'bb'
assert 'b' not in t
t['c'] = 3
assert t == {'a': 1, 'c': 3}
""",
    ),
    "coroutine function's result": (
        """
import asyncio
async def later(): return 5
def answer(): return asyncio.run(later())
""",
        """
assert answer() == 5
""",
    ),
    "function": (
        """
def answer():
    return lambda x, *, y=1: x + y
""",
        """
assert answer()(2, y=3) == 5 and callable(answer())
""",
    ),
    "built-in function": (
        """
def answer(): return len
""",
        """
assert answer()([1, 2]) == 2
""",
    ),
    "set of objects": (
        """
from dataclasses import dataclass
@dataclass(frozen=True)
class P:
    x: int
def answer(): return {P(1), P(2)}
""",
        """
assert {p.x for p in answer()} == {1, 2} and answer() == answer() and len(answer() | answer()) == 2
""",
    ),
    "recursion as deep as is usual": (
        """
def answer():
    def down(n): return 0 if n == 0 else 1 + down(n - 1)
    return down(900)
""",
        """
assert answer() == 900
""",
    ),
    "threads": (
        """
from concurrent.futures import ThreadPoolExecutor
def answer():
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(abs, range(-5, 5)))
""",
        """
assert answer() == 25
""",
    ),
    "files in the working directory": (
        """
def answer():
    open('x.txt', 'w').write('hi')
    return open('x.txt').read()
""",
        """
assert answer() == 'hi'
""",
    ),
}


@pytest.mark.parametrize("name", RETURNED)
async def test_what_a_program_returns_keeps_its_meaning(name: str, program_score: Grade) -> None:
    code, check = RETURNED[name]
    score = await program_score(code, check)
    assert score.value == 1, score.explanation
