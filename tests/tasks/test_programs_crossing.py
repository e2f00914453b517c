"""Values of the standard library, exceptions, arguments, threads, coroutines: the same on both sides of the bridge."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest

from agentlab.tasks import Score

pytestmark = pytest.mark.asyncio(loop_scope="module")
Grade = Callable[..., Awaitable[Score]]

VALUES = {
    "containers made to be derived from": (
        """
from collections import UserDict, UserList, UserString, deque
class D(UserDict):
    def __getitem__(self, key): return self.data[key] * 2
class L(UserList):
    def top(self): return self[-1]
class S(UserString):
    def loud(self): return self.upper()
class Q(deque):
    def front(self): return self[0]
d, l, s, q = D(a=1), L([1, 2]), S("abc"), Q([1, 2])
def answer(): return d, l, s, q
def plain(): return UserDict(a=1), UserList([1]), UserString("a")
""",
        """
from collections import UserDict, UserList, UserString, deque
assert plain() == ({'a': 1}, [1], 'a') and [type(x) for x in plain()] == [UserDict, UserList, UserString]
d, l, s, q = answer()
assert isinstance(d, UserDict) and isinstance(l, UserList) and isinstance(s, UserString) and isinstance(q, deque)
assert d == {'a': 1} == {**d.data} and d['a'] == 2 and 'a' in d and len(d) == 1 and list(d) == ['a']
assert l == [1, 2] and [1, 2] == l and l.top() == 2 and l + [3] == [1, 2, 3] and [0] + l == [0, 1, 2]
l.append(5)
l += [6]
assert l == [1, 2, 5, 6] == answer()[1] and l[2] == 5 and len(l) == 4 and l.count(1) == 1 and l != [1]
assert s == 'abc' == s and s.loud() == 'ABC' and s + 'd' == 'abcd' and 'z' + s == 'zabc' and {'abc': 1}[s] == 1
assert 'b' in s and s.startswith('ab') and str(s) == 'abc' and len(s) == 3
assert q == deque([1, 2]) and q.front() == 1 and list(q) == [1, 2] and q != deque([1])
""",
    ),
    "mappings of the standard library": (
        """
import types
from collections import ChainMap, OrderedDict, defaultdict
class Ordered(OrderedDict): pass
def answer():
    return (
        types.MappingProxyType({'a': [1]}), ChainMap({'a': 1}, {'b': 2}), OrderedDict(b=1, a=2), Ordered(b=1, a=2),
        defaultdict(list, k=[1]), defaultdict(lambda: 'made'),
    )
""",
        """
import types
from collections import ChainMap, OrderedDict, defaultdict
proxy, chain, ordered, own, lists, made = answer()
assert proxy == {'a': [1]} and isinstance(proxy, types.MappingProxyType)
assert chain == {'a': 1, 'b': 2} and isinstance(chain, ChainMap)
assert ordered == OrderedDict(b=1, a=2) != OrderedDict(a=2, b=1)
assert own == {'a': 2, 'b': 1} and list(own) == ['b', 'a'] and isinstance(own, OrderedDict)
lists['new'].append(2)
assert lists == {'k': [1], 'new': [2]} and lists.default_factory is list and isinstance(lists, defaultdict)
assert made['x'] == 'made' and made == {'x': 'made'}
""",
    ),
    "enumerations": (
        """
import enum
class Colour(str, enum.Enum):
    RED = 'red'
    BLUE = 'blue'
class Size(enum.IntEnum):
    SMALL = 1
    BIG = 2
class Right(enum.Flag):
    READ = 1
    WRITE = 2
class Mode(enum.IntFlag):
    READ = 1
    WRITE = 2
class Word(enum.StrEnum):
    YES = enum.auto()
def answer(n): return Size(n)
""",
        """
assert Colour.RED == 'red' and Colour.RED is Colour('red') is Colour['RED'] and Colour.RED != Colour.BLUE
assert repr(Colour.RED) == "<Colour.RED: 'red'>" and str(Colour.RED) == 'Colour.RED' and Colour.RED.value == 'red'
assert [c.name for c in Colour] == ['RED', 'BLUE'] and {Colour.RED: 1}['red'] == 1 and Colour.RED in Colour
assert answer(1) is Size.SMALL and Size.BIG > Size.SMALL and Size.BIG + 1 == 3 and f'{Size.BIG}' == '2'
assert repr(Size.BIG) == '<Size.BIG: 2>' and sorted([Size.BIG, Size.SMALL]) == [1, 2]
both = Right.READ | Right.WRITE
assert Right.READ in both and both & ~Right.WRITE == Right.READ and not Right.READ & Right.WRITE and both.value == 3
both = Mode.READ | Mode.WRITE
assert both == 3 and both is Mode(3) and Mode.READ in both and both & ~Mode.WRITE == Mode.READ
assert Word.YES == 'yes' == str(Word.YES) == f'{Word.YES}' and list(Word.__members__) == ['YES']
""",
    ),
    "data classes": (
        """
from dataclasses import dataclass, field
@dataclass
class Point:
    x: int
    tags: list = field(default_factory=list)
@dataclass(frozen=True, order=True)
class Pair:
    key: int
    point: object = None
def answer(): return Pair(1, Point(2, [Point(3)]))
""",
        """
import dataclasses
pair = answer()
assert dataclasses.asdict(pair) == {'key': 1, 'point': {'x': 2, 'tags': [{'x': 3, 'tags': []}]}}
assert dataclasses.astuple(Point(1)) == (1, []) and dataclasses.is_dataclass(pair) and dataclasses.is_dataclass(Point)
assert [f.name for f in dataclasses.fields(Point)] == ['x', 'tags'] and dataclasses.replace(pair, key=5).key == 5
assert Pair(1) < Pair(2) and Pair(1) == Pair(1) and repr(Pair(1)) == 'Pair(key=1, point=None)'
assert vars(Point(1, [2])) == {'x': 1, 'tags': [2]} == Point(1, [2]).__dict__
try: pair.key = 5
except dataclasses.FrozenInstanceError as error: assert 'key' in str(error)
else: assert False
""",
    ),
    "named tuples": (
        """
from typing import NamedTuple
class Step(NamedTuple):
    x: int
    y: str = 'a'
    def both(self): return (self.y, self.x)
def answer(): return Step(1)
""",
        """
step = answer()
assert step == (1, 'a') == Step(1) and step.both() == ('a', 1) and repr(step) == "Step(x=1, y='a')"
assert step._asdict() == {'x': 1, 'y': 'a'} and step._fields == ('x', 'y') and step._replace(x=4) == (4, 'a')
assert type(step) is Step and isinstance(step, tuple) and len(step) == 2 and Step._make([1, 'b'])[1] == 'b'
""",
    ),
    "numbers and moments": (
        """
import datetime
class Zone(datetime.tzinfo):
    def utcoffset(self, when): return datetime.timedelta(hours=1)
    def dst(self, when): return None
    def tzname(self, when): return 'X'
def answer(): return datetime.datetime(2024, 1, 1, tzinfo=Zone())
def same(x): return x
""",
        """
import array, datetime, decimal, fractions
assert answer().isoformat() == '2024-01-01T00:00:00+01:00' and answer().year == 2024
zone = datetime.timezone(datetime.timedelta(hours=2))
for value in (
    decimal.Decimal('NaN'), fractions.Fraction(1, 3), 1 + 2j, array.array('i', [1, 2]), datetime.time(1, 2),
    datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=zone), datetime.timedelta(1),
):
    assert repr(same(value)) == repr(value) and type(same(value)) is type(value)
""",
    ),
    "built-in and standard exceptions": (
        """
import json
class Full(OSError): pass
def answer(kind):
    if kind == 'absent': open('/nope/x')
    if kind == 'full': raise Full(28, 'no space', 'a.txt')
    if kind == 'import': import nosuchmodule
    if kind == 'name': return undefined
    if kind == 'attribute': return (1).foo
    if kind == 'text': b'\\xff'.decode()
    if kind == 'json': json.loads('{')
    if kind == 'group': raise ExceptionGroup('g', [ValueError(1), KeyError('k')])
    if kind == 'caused':
        try: {}['a']
        except KeyError as error: raise ValueError('bad') from error
    if kind == 'noted':
        error = ValueError('x')
        error.add_note('a note')
        raise error
""",
        """
import json
def raised(kind):
    try: answer(kind)
    except Exception as error: return error
error = raised('absent')
assert (type(error), error.errno, error.filename) == (FileNotFoundError, 2, '/nope/x') and "'/nope/x'" in str(error)
error = raised('full')
assert (type(error), error.errno, error.filename) == (Full, 28, 'a.txt')
assert str(error) == "[Errno 28] no space: 'a.txt'"
assert raised('import').name == 'nosuchmodule' and raised('name').name == 'undefined'
assert raised('attribute').name == 'foo' and raised('text').start == 0
error = raised('json')
assert type(error) is json.JSONDecodeError and error.pos == 1 and error.doc == '{'
assert [type(one) for one in raised('group').exceptions] == [ValueError, KeyError]
error = raised('caused')
assert type(error.__cause__) is KeyError and error.__cause__.args == ('a',) and error.__suppress_context__
assert raised('noted').__notes__ == ['a note']
""",
    ),
    "exceptions of its own": (
        """
class Declined(Exception):
    def __init__(self, message, *, code=3, payload=None):
        super().__init__(message)
        self.code, self.payload = code, payload
class Late(Declined): pass
class Bare(Exception):
    def __init__(self, a, b): self.a, self.b = a, b
def answer(kind):
    raise [Declined('m', code=5, payload=[1, {'x': 2}]), Late('l'), Bare(1, 2), StopIteration(4), SystemExit(3)][kind]
""",
        """
def raised(kind):
    try: answer(kind)
    except BaseException as error: return error
error = raised(0)
assert (error.code, error.payload, error.args, str(error)) == (5, [1, {'x': 2}], ('m',), 'm')
assert type(raised(1)) is Late and isinstance(raised(1), Declined) and raised(1).code == 3
assert (raised(2).args, raised(2).a, str(raised(2))) == ((1, 2), 1, '(1, 2)')
assert raised(3).value == 4 and raised(4).code == 3
""",
    ),
    "attributes of functions and classes": (
        """
class Heat:
    limit = 3
    def __init__(self): self._c = 0
    @property
    def f(self): return self._c * 9 / 5 + 32
    @f.setter
    def f(self, value): self._c = (value - 32) * 5 / 9
    @f.deleter
    def f(self): self._c = None
    def __getattr__(self, name):
        if name.startswith('dyn'): return name
        raise AttributeError(name)
class Slots:
    __slots__ = ('a',)
def answer(a, b=2): "what it does"
""",
        """
heat = Heat()
heat.f = 212
assert heat.f == 212 and heat._c == 100 and heat.dynamic == 'dynamic' and not hasattr(heat, 'other')
del heat.f
assert vars(heat) == {'_c': None}
Heat.limit = 9
assert heat.limit == 9 and Heat.__name__ == 'Heat'
slots = Slots()
slots.a = 1
assert slots.a == 1 and not hasattr(slots, '__dict__')
assert (answer.__doc__, answer.__name__, answer.__defaults__) == ('what it does', 'answer', (2,))
""",
    ),
    "context managers": (
        """
import contextlib
log = []
@contextlib.contextmanager
def answer(x):
    log.append('in')
    try: yield x * 2
    except ValueError: log.append('caught')
    finally: log.append('out')
def said(): return log
def quiet(): return contextlib.suppress(KeyError)
def stack(): return contextlib.ExitStack()
""",
        """
with answer(2) as value: assert value == 4
with answer(1): raise ValueError
try:
    with answer(1): raise KeyError('z')
except KeyError as error: assert error.args == ('z',)
else: assert False
assert said() == ['in', 'out', 'in', 'caught', 'out', 'in', 'out']
with quiet(): raise KeyError
with stack() as entered: assert entered.enter_context(answer(5)) == 10
""",
    ),
    "objects that are themselves": (
        """
class Node:
    def __init__(self): self.next, self.items = None, []
def answer():
    node = Node()
    node.next = node
    return node
""",
        """
node, other = answer(), Node()
other.next = node
assert node.next is node and other.next is node and {node: 1}[node] == 1 and [other, node].index(node) == 1
other.items = [1, 2]
assert other.items == [1, 2]
""",
    ),
}

CALLS = {
    "arguments changed in place": (
        """
def answer(xs): xs.sort()
def fill(d, s, m, q, b, n=None):
    d['new'] = [1]
    s.add(9)
    m[0].append(5)
    m.append([7])
    q.appendleft(0)
    b.extend(b'x')
    n.clear()
def swap(m): m[0], m[1] = m[1], m[0]
def nested(t):
    t[0].append(1)
    t[1]['k'].add(2)
class Sorter:
    def sort(self, xs): xs.sort(reverse=True)
""",
        """
from collections import deque
xs = [3, 1, 2]
assert answer(xs) is None and xs == [1, 2, 3]
Sorter().sort(xs)
assert xs == [3, 2, 1]
row, d, s, q, b, n = [1], {}, {1}, deque([1], maxlen=3), bytearray(b'a'), [1]
m = [row]
fill(d, s, m, q, b, n=n)
assert (d, s, m, b, n) == ({'new': [1]}, {1, 9}, [[1, 5], [7]], b'ax', []) and q == deque([0, 1]) and q.maxlen == 3
assert m[0] is row and row == [1, 5]
one, two = [1], [2]
m = [one, two]
swap(m)
assert m[0] is two and m[1] is one and (one, two) == ([1], [2])
t = ([], {'k': set()})
nested(t)
assert t == ([1], {'k': {2}})
""",
    ),
    "arguments that a callback changes in place": (
        """
def answer(f):
    xs = [1]
    f(xs)
    return xs
""",
        """
assert answer(lambda xs: xs.append(2)) == [1, 2]
""",
    ),
    "callbacks from threads": (
        """
from concurrent.futures import ThreadPoolExecutor
def answer(f, xs):
    with ThreadPoolExecutor(8) as pool: return list(pool.map(f, xs))
""",
        """
class Kept:
    def __init__(self, value): self.value = value
assert answer(lambda x: x * x, range(100)) == [x * x for x in range(100)]
assert [kept.value for kept in answer(Kept, range(50))] == list(range(50))
""",
    ),
    "threads of the test": (
        """
import threading
class Account:
    def __init__(self): self.balance, self.lock = 0, threading.Lock()
    def add(self, n):
        with self.lock: self.balance += n
def answer(): return Account()
""",
        """
import threading
account = answer()
def work():
    for _ in range(10): account.add(1)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert account.balance == 80
""",
    ),
    "generators and iterators": (
        """
def answer():
    x = yield 1
    while True: x = yield x * 2
class Down:
    def __init__(self, n): self.n = n
    def __iter__(self): return self
    def __next__(self):
        if self.n == 0: raise StopIteration
        self.n -= 1
        return self.n
class Numbers:
    def __init__(self, n): self.n = n
    def __iter__(self): return iter(range(self.n))
    def __len__(self): return self.n
    def __getitem__(self, i): return range(self.n)[i]
    def add(self): self.n += 1
def squares(n): return (i * i for i in range(n))
def fails(n):
    yield from range(n)
    raise KeyError('after', n)
""",
        """
import itertools
g = answer()
assert next(g) == 1 and g.send(4) == 8 and g.send(5) == 10
down = Down(3)
assert iter(down) is down and next(down) == 2 and list(down) == [1, 0] and list(down) == []
numbers = Numbers(3)
assert list(numbers) == list(numbers) == [0, 1, 2]
assert numbers[-1] == 2 and len(numbers) == 3 and numbers[0:2] == range(2)
walk = iter(numbers)
assert (next(walk), next(walk), list(walk)) == (0, 1, [2])
numbers.add()
assert list(numbers) == [0, 1, 2, 3] == list(reversed(numbers))[::-1] and len(numbers) == 4 and numbers[3] == 3
assert sum(squares(5000)) == sum(i * i for i in range(5000)) and dict(zip('ab', squares(2))) == {'a': 0, 'b': 1}
seen = []
try: seen.extend(fails(100))
except KeyError as error: assert error.args == ('after', 100)
else: assert False
""",
    ),
    "recursion": (
        """
import sys
def answer(n): return 0 if n == 0 else 1 + answer(n - 1)
def deep(n):
    sys.setrecursionlimit(20000)
    return answer(n)
def endless(): return endless()
def memo(f):
    known = {}
    def inner(n):
        if n not in known: known[n] = f(n)
        return known[n]
    return inner
""",
        """
assert answer(940) == 940
@memo
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
assert fib(60) == 1548008755920
try: endless()
except RecursionError: pass
else: assert False
assert deep(9000) == 9000
""",
    ),
    "coroutines": (
        """
import asyncio
log = []
async def answer(x):
    await asyncio.sleep(0)
    return x * 2
async def fails(): raise ValueError('no')
async def some():
    for i in range(3):
        await asyncio.sleep(0)
        yield i
class Room:
    async def __aenter__(self): return self
    async def __aexit__(self, kind, error, trace):
        self.left = kind
        return True
async def slow():
    try: await asyncio.sleep(60)
    except asyncio.CancelledError:
        log.append('cancelled')
        raise
async def call(f): return await f(3)
class Pipe:
    def __init__(self): self.queue = asyncio.Queue()
    async def put(self, x): await self.queue.put(x)
    async def get(self): return await self.queue.get()
def said(): return log
""",
        """
import asyncio, inspect
assert asyncio.run(answer(2)) == 4 and inspect.isawaitable(answer(1))
async def main():
    assert await asyncio.gather(answer(1), answer(2)) == [2, 4] and await asyncio.create_task(answer(4)) == 8
    try: await fails()
    except ValueError as error: assert str(error) == 'no'
    else: assert False
    assert [x async for x in some()] == [0, 1, 2]
    async with Room() as room: raise KeyError
    assert room.left is KeyError
    try: await asyncio.wait_for(slow(), 0.05)
    except asyncio.TimeoutError: pass
    else: assert False
    async def double(x):
        await asyncio.sleep(0)
        return x * 2
    assert await call(double) == 6
    pipe = Pipe()
    assert (await asyncio.gather(pipe.get(), pipe.put(5)))[0] == 5
    return 'done'
assert asyncio.run(main()) == 'done' and said() == ['cancelled']
""",
    ),
    "a million values": (
        """
def answer(xs): return [x / 3 for x in xs]
def sort(xs): xs.sort()
""",
        """
xs = list(range(10 ** 6, 0, -1))
assert answer(xs)[-3:] == [1.0, 2 / 3, 1 / 3]
sort(xs)
assert xs[:2] == [1, 2] and len(xs) == 10 ** 6
""",
    ),
    "values nested deeply": (
        """
def answer(x): return x
""",
        """
value = 0
for _ in range(90): value = [value]
assert answer(value) == value
""",
    ),
}


@pytest.mark.parametrize("name", [*VALUES, *CALLS])
async def test_a_program_does_what_it_does_in_one_process(name: str, program_score: Grade) -> None:
    program, check = (VALUES | CALLS)[name]
    found = re.findall(r"^(?:async )?(?:def|class) (\w+)", program, re.MULTILINE)
    score = await program_score(program, check, names=tuple(found), cpu_s=15)
    assert score.value == 1, score.explanation


async def test_what_a_function_returns_is_not_compared_with_an_argument_that_it_emptied(program_score: Grade) -> None:
    check = "xs = [3, 1, 2]\nassert answer(xs) == sorted(xs)"
    assert (await program_score("def answer(xs):\n    xs.clear()\n    return []", check)).value == 0
    assert (await program_score("def answer(xs):\n    return sorted(xs)", check)).value == 1
