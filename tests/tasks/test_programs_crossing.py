"""Values, objects and exceptions of a program: a test finds them as it would in its own process."""

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
    "methods, looked up and replaced": (
        """
class Machine:
    def __init__(self): self.log = []
    def step(self):
        self.log.append('first')
        self.step = self.second
        return 1
    def second(self): return 2
    def both(self): return self.step(), self.second()
    size = lambda self: 3
def answer(): return Machine()
""",
        """
from unittest import mock
machine = answer()
step = machine.step
assert callable(step) and step.__name__ == 'step' and list(map(lambda f: f(), [step, step])) == [1, 2]
assert machine.both() == (2, 2) and machine.second == machine.second and machine.size() == 3
machine.second = lambda: 5
assert machine.both() == (2, 5) and machine.second() == 5
with mock.patch.object(Machine, 'size', return_value=7) as size:
    assert machine.size() == 7 and size.called
assert machine.size() == 3
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


@pytest.mark.parametrize("name", VALUES)
async def test_a_value_is_what_it_is_in_one_process(name: str, program_score: Grade) -> None:
    program, check = VALUES[name]
    names = tuple(re.findall(r"^(?:async )?(?:def|class) (\w+)", program, re.MULTILINE))
    score = await program_score(program, check, names=names, cpu_s=15)
    assert score.value == 1, score.explanation
