"""Calls across the bridge: arguments, callbacks, threads, iterators and coroutines do what they do in one process."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest

from agentlab.tasks import Score

pytestmark = pytest.mark.asyncio(loop_scope="module")
Grade = Callable[..., Awaitable[Score]]

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
    "what is printed and typed, where a test looks": (
        """
def answer(name):
    print('hello', name)
    return len(name)
def shout(f):
    print('before')
    f()
    print('after')
def fails():
    print('said')
    raise ValueError
def greet(): return 'hi ' + input('who? ')
def load(path):
    with open(path) as file: return file.read()
""",
        """
import contextlib, io
from unittest import mock
answer('nobody')
out = io.StringIO()
with contextlib.redirect_stdout(out):
    assert answer('Ada') == 3
    shout(lambda: print('during'))
    with contextlib.suppress(ValueError): fails()
assert out.getvalue().split() == ['hello', 'Ada', 'before', 'during', 'after', 'said'], out.getvalue()
answer('nobody')
assert 'nobody' not in out.getvalue()
with mock.patch('sys.stdout', new_callable=io.StringIO) as out:
    answer('x' * (3 << 20))
assert len(out.getvalue()) == 7 + (3 << 20)
with mock.patch('builtins.input', side_effect=['Bob']) as asked: assert greet() == 'hi Bob'
asked.assert_called_once_with('who? ')
with mock.patch('builtins.print') as printed: answer('Eve')
printed.assert_called_once_with('hello', 'Eve')
with mock.patch('builtins.open', mock.mock_open(read_data='text')): assert load('a.txt') == 'text'
try: load('a.txt')
except FileNotFoundError: pass
else: assert False
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


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_does_what_it_does_in_one_process(name: str, program_score: Grade) -> None:
    program, check = CALLS[name]
    names = tuple(re.findall(r"^(?:async )?(?:def|class) (\w+)", program, re.MULTILINE))
    score = await program_score(program, check, names=names, cpu_s=15)
    assert score.value == 1, score.explanation


async def test_what_a_function_returns_is_not_compared_with_an_argument_that_it_emptied(program_score: Grade) -> None:
    check = "xs = [3, 1, 2]\nassert answer(xs) == sorted(xs)"
    assert (await program_score("def answer(xs):\n    xs.clear()\n    return []", check)).value == 0
    assert (await program_score("def answer(xs):\n    return sorted(xs)", check)).value == 1
