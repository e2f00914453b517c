"""Programs that know how they are graded: they ask, answer and lie over the channel itself. Each must score 0."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import pytest

from agentlab.tasks import Score, ScoreContext, Submission
from agentlab.tasks.builtin.mbpp import to_sample
from agentlab.tasks.scorers.programs import program_tests
from agentlab.traces.events import ListRecorder

pytestmark = pytest.mark.asyncio(loop_scope="module")
Grade = Callable[..., Awaitable[Score]]

CHECKS = ("assert answer(3) == 9", "assert answer(4) == 16", "assert answer(0.5) - 0.25 < 1e-9")

BRIDGE = """
import gc, re
def the(kind):
    return next(thing for thing in gc.get_objects() if type(thing).__name__ == kind)
class X: pass
def found(text, n):
    right = re.search(rf"answer\\({n}\\) == (\\d+)", str(text))
    return int(right[1]) if right else -1
"""

FORGED = BRIDGE + "def answer(n):\n    bridge, packer = the('WorkerBridge'), the('Packer')\n"
ONE_MORE = (
    "    real = packer.pack\n    packer.pack = lambda value, depth=0: {} if type(value) is X else real(value, depth)\n"
)

CHEATS = {
    "has a text of its own formatted by the tests": BRIDGE
    + """
PATH = "{0.__class__._bridge_.serve_operation.__globals__[sys].modules[__main__].boot}"
GLOBALS = "{0.__class__._bridge_.__class__.__init__.__globals__}"
def answer(n):
    bridge = the('WorkerBridge')
    for template in (PATH, GLOBALS):
        try: text = bridge.ask('call', bridge.ask('get', template, 'format'), (X(),), {})
        except Exception: continue
        if found(text, n) > 0: return found(text, n)
    return -1
""",
    "asks about numbers that it was not given": BRIDGE
    + """
def answer(n):
    bridge = the('WorkerBridge')
    for number in range(40):
        for request in (['get', ['o', number], 'config'], ['call', ['o', number], ['t'], ['d']], ['settled', number]):
            bridge._requests += 1
            bridge._open.add(bridge._requests)
            bridge.channel.send(['q', bridge._requests, *request])
            done, value, _ = bridge._answer_to(bridge._requests)
            if done: return n * n
    return -1
""",
    "asks classes that it was not given": FORGED
    + """
    for name in ('object', 'int', 'str', 'ValueError'):
        try: bridge.ask('get', {'object': object, 'int': int, 'str': str}.get(name, ValueError), 'mro')
        except AttributeError: pass
        else: return n * n
    return -1
""",
    "sends an object where JSON has arrays": FORGED + ONE_MORE.format("{}") + "    return X()\n",
    "sends a number that is none": FORGED + ONE_MORE.format("['i', 'x' * 9]") + "    return X()\n",
    "names a function as a type": FORGED + ONE_MORE.format("['k', 'eval']") + "    return X()\n",
    "makes a fraction of things that are no numbers": FORGED
    + ONE_MORE.format("['x', 'fractions', 'Fraction', real(the('Channel')), 1]")
    + "    return X()\n",
    "raises a forged exception": FORGED
    + """
    packer.pack_safely = lambda error: ['eb', 'ValueError', [], {'__class__': ['k', 'object']}]
    raise ValueError
""",
    "changes arguments that were not there": FORGED
    + """
    type(bridge)._answer = lambda self, number, value, before: ['r', number, None, [[0, [9]], [7, [['m', 3]]]]]
    return None
""",
    "fetches ahead what is no list": FORGED
    + """
    type(bridge).do_ahead = lambda self, iterator, most: (X(), X())
    return iter([9] * 100)
""",
    "answers twice": FORGED
    + """
    for number in range(1, 60): bridge.channel.send(['r', number, n * n])
    return n * n
""",
    "answers from another thread": BRIDGE
    + """
import threading
def spam():
    while True:
        for number in range(60): the('Channel').send(['r', number, True])
threading.Thread(target=spam, daemon=True).start()
def answer(n): return -1
""",
    "nests a frame deeply": BRIDGE
    + """
import os, struct
def answer(n):
    os.write(the('Channel')._writer, struct.pack('>I', 10 ** 5) + b'[' * 10 ** 5)
    return n * n
""",
}


WELL_FORMED = {
    "claims another class of the standard library": FORGED
    + ONE_MORE.format("['h', 900, [900, 'L', 'm', [], 'list', ['fractions', 'Fraction'], [], []]]")
    + "    return X()\n",
    "claims to be an int with operators of its own": FORGED
    + ONE_MORE.format(
        "['v', 900, [900, 'int', '', [[901, 'A', '', [], None, None, ['__eq__', '__sub__', '__bool__'], []]], 'int',"
        " None, ['__eq__', '__sub__'], []], 0]"
    )
    + "    return X()\n",
    "raises what the test runner takes for a skip": FORGED
    + """
    skip = [900, 'SkipTest', 'unittest.case', [], 'Exception', ['unittest.case', 'SkipTest'], [], []]
    packer.pack_safely = lambda error: ['ex', 900, skip, [], '', {}]
    raise ValueError
""",
}
"""These send what an honest side might send, for something that it is not."""


@pytest.mark.parametrize("name", CHEATS)
async def test_a_cheat_over_the_channel_scores_nothing(name: str, program_score: Grade) -> None:
    score = await program_score(CHEATS[name], *CHECKS)
    assert score.value == 0
    assert score.explanation


@pytest.mark.parametrize("name", WELL_FORMED)
async def test_a_forged_description_makes_nothing_true(name: str, program_score: Grade) -> None:
    score = await program_score(WELL_FORMED[name], *CHECKS)
    assert score.value == 0
    assert "makes no sense" not in score.explanation


async def test_a_right_answer_over_the_same_channel_scores_one(program_score: Grade) -> None:
    for program in ("def answer(n): return n * n", FORGED + ONE_MORE.format("['l']") + "    return n * n\n"):
        score = await program_score(program, *CHECKS)
        assert score.value == 1, score.explanation


async def test_nothing_of_the_tests_can_be_read_from_what_they_hand_over(program_score: Grade) -> None:
    check = """
import asyncio
secret = 'kept here'
async def later(): return 1
async def main(): return await answer(later, asyncio.get_running_loop)
assert asyncio.run(main()) == 1
"""
    honest = "async def answer(later, loop): return await later()"
    assert (await program_score(honest, check)).value == 1
    spawn = """
async def answer(later, loop):
    for reach in (lambda: loop(), lambda: later().cr_frame, lambda: later.__globals__, lambda: later().get_loop()):
        try: found = reach()
        except Exception: continue
        return 1
    return -1
"""
    assert (await program_score(spawn, check)).value == 0


LOOKED_AT_TWICE = """
xs = [(3, 1), (2, 3)]
chain = answer(xs)
assert sorted(tuple(sorted(x)) for x in chain) == sorted(tuple(sorted(x)) for x in xs)
if any(chain):
    for i in range(len(chain) - 1): assert chain[i][1] == chain[i + 1][0]
    assert chain[0][0] == 2 and chain[-1][1] == 1
"""

CONTAINERS = {
    "right": ("def answer(xs): return [(2, 3), (3, 1)]", 1),
    "right, of its own class": (
        """
class Chain:
    def __init__(self, xs): self.xs = xs
    def __iter__(self): return iter(self.xs)
    def __len__(self): return len(self.xs)
    def __getitem__(self, i): return self.xs[i]
def answer(xs): return Chain([Chain([2, 3]), Chain([3, 1])])
""",
        1,
    ),
    "empty when it is looked at again": (
        """
class Chain:
    def __init__(self, xs): self.looks = [xs]
    def __iter__(self): return iter(self.looks.pop() if self.looks else ())
def answer(xs): return Chain(xs)
""",
        0,
    ),
    "shorter than it is": (
        """
class Chain:
    def __init__(self, xs): self.xs = xs
    def __iter__(self): return iter(self.xs)
    def __len__(self): return 1
    def __getitem__(self, i): return (2, 1)
def answer(xs): return Chain(xs)
""",
        0,
    ),
    "other items by number": (
        """
class Chain:
    def __init__(self, xs): self.xs = xs
    def __iter__(self): return iter(self.xs)
    def __len__(self): return 2
    def __getitem__(self, i): return [(2, 2), (2, 1)][i]
def answer(xs): return Chain(xs)
""",
        0,
    ),
    "a list that walks otherwise": (
        """
class Chain(list):
    def __getitem__(self, i): return [(2, 2), (2, 1)][i]
def answer(xs): return Chain(xs)
""",
        0,
    ),
    "items that change": (
        """
class Pair:
    def __init__(self, x, shown): self.x, self.shown = x, shown
    def __iter__(self): return iter(self.x)
    def __len__(self): return 2
    def __getitem__(self, i): return self.shown[i]
def answer(xs): return [Pair(xs[0], (2, 2)), Pair(xs[1], (2, 1))]
""",
        0,
    ),
    "items that say they are nothing": (
        """
class Pair:
    def __init__(self, x): self.x = x
    def __iter__(self): return iter(self.x)
    def __bool__(self): return False
def answer(xs): return [Pair(x) for x in xs]
""",
        0,
    ),
    "tuples that say they are nothing": (
        """
class Nothing:
    def __bool__(self): return False
class Pair(Nothing, tuple): pass
def answer(xs): return [Pair(x) for x in xs]
""",
        0,
    ),
    "items by number alone, others the second time": (
        """
class Chain:
    def __init__(self, xs): self.looks = [[(2, 1)], xs]
    def __getitem__(self, i):
        if i == 0 and len(self.looks) > 1: self.now = self.looks.pop()
        elif i == 0: self.now = self.looks[0]
        return self.now[i]
    def __len__(self): return 1
def answer(xs): return Chain(xs)
""",
        0,
    ),
    "tuples that change": (
        """
class Walk:
    def __getitem__(self, i): return 2 if self.first or i == 0 else 1
    def __iter__(self): return iter(self.x)
    def __len__(self): return 2
class Pair(Walk, tuple): pass
def answer(xs):
    one, two = Pair(xs[0]), Pair(xs[1])
    one.x, one.first, two.x, two.first = xs[0], True, xs[1], False
    return [one, two]
""",
        0,
    ),
}


async def test_a_mapping_of_its_own_is_no_sequence_that_lies(program_score: Grade) -> None:
    program = """
class Table:
    def __init__(self): self.pairs = []
    def __setitem__(self, key, value): self.pairs.append((key, value))
    def __getitem__(self, key): return next(v for k, v in self.pairs if k == key)
    def __iter__(self): return (key for key, _ in self.pairs)
    def __len__(self): return len(self.pairs)
def answer(): return Table()
"""
    check = "t = answer()\nt[1], t[0], t[7] = 'b', 'a', 'c'\nassert list(t) == [1, 0, 7]\n"
    check += "assert (t[0], t[1], t[7], len(t)) == ('a', 'b', 'c', 3) and list(t) == [1, 0, 7] and t"
    score = await program_score(program, check)
    assert score.value == 1, score.explanation


@pytest.mark.parametrize("name", CONTAINERS)
async def test_a_container_is_the_same_however_it_is_looked_at(name: str, program_score: Grade) -> None:
    program, value = CONTAINERS[name]
    score = await program_score(program, LOOKED_AT_TWICE)
    assert score.value == value, score.explanation


async def test_what_a_test_calls_itself_is_never_taken_from_the_answer(grader: object) -> None:
    row = {
        "task_id": 1,
        "prompt": "Write a function to find the volume of a ball.",
        "code": "import math\nfrom math import pi\ndef volume(r):\n    return 4 / 3 * pi * r ** 3\n",
        "test_imports": [],
        "test_list": ["assert math.isclose(volume(10), 4188.790204786391, rel_tol=0.001)"],
    }
    sample = to_sample(row)
    assert sample.metadata["names"] == ["volume"]
    cheat = "class math:\n    isclose = staticmethod(lambda *a, **k: True)\ndef volume(r):\n    return 0\n"
    for answer, value in ((str(sample.solution), 1), (cheat, 0)):
        context = ScoreContext(await grader.fresh(), None, ListRecorder())  # type: ignore[attr-defined]
        graded = program_tests().grade(sample, Submission(answer=answer), context)
        assert inspect.isawaitable(graded)
        score = await graded
        assert score.value == value, score.explanation


async def test_a_test_that_only_begins_when_it_is_awaited_is_awaited(repository_score: Grade) -> None:
    test = "from thing import size\n\n\nasync def test_size():\n    assert size() == 3\n"
    for size, value in ((3, 1), (2, 0)):
        files = {"thing.py": f"def size(): return {size}\n"}
        assert (await repository_score(files, test, modules=("thing",))).value == value
    yielding = test.replace("async def", "def") + "    yield\n"
    assert (await repository_score({"thing.py": "def size(): return 3\n"}, yielding, modules=("thing",))).value == 0


async def test_a_program_cannot_forget_the_calls_that_a_mock_has_seen(repository_score: Grade) -> None:
    test = """
from unittest import mock

from thing import tell


def test_tells_once():
    listener = mock.Mock()
    tell(listener)
    assert listener.call_args_list == [mock.call("done")]
"""
    for before, value in (
        ("", 1),
        ("listener('early')", 0),
        ("listener('early'); listener.call_args_list.clear(); listener.mock_calls.clear()", 0),
        ("listener('early'); listener.call_args_list.pop(0)", 0),
    ):
        code = f"def tell(listener):\n    {before or 'pass'}\n    listener('done')\n"
        score = await repository_score({"thing.py": code}, test, modules=("thing",))
        assert score.value == value, (before, score.explanation)
