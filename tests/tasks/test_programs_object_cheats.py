"""Cheats with the objects that cross: results that lie about what they are, callbacks as a way into the tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from agentlab.tasks import Score

pytestmark = pytest.mark.asyncio(loop_scope="module")
Grade = Callable[..., Awaitable[Score]]


async def test_a_failed_assertion_in_a_callback_counts_although_it_was_swallowed(program_score: Grade) -> None:
    check = "def must_be_positive(n):\n    assert n > 0\nassert answer(must_be_positive) is None"
    swallow = "def answer(f):\n    try: f(-1)\n    except BaseException: pass"
    assert (await program_score(swallow, check)).value == 0
    assert (await program_score("def answer(f):\n    f(1)", check)).value == 1


async def test_a_callback_gives_no_way_into_the_tests(program_score: Grade) -> None:
    check = "secret = 123\ndef probe(x):\n    return x\nassert answer(probe) == 123"
    reach = """
def answer(f):
    for path in ('__globals__', '__code__', '__self__', '__closure__', '__class__ __mro__', '__init__ __globals__'):
        value = f
        try:
            for name in path.split(): value = getattr(value, name)
            found = value['secret']
            return found
        except Exception: pass
    try: return type(f)(compile('secret', '', 'eval'), {})()
    except Exception: pass
    return -1
"""
    assert (await program_score(reach, check)).value == 0


UNITTEST = """
import unittest
class Sets(unittest.TestCase):
    def test(self):
        self.{check}
result = unittest.TestResult()
unittest.defaultTestLoader.loadTestsFromTestCase(Sets).run(result)
assert result.testsRun == 1 and result.wasSuccessful(), result
"""

REPLAYS = """
class Replay{base}:
    seen = None
    def keep(self, *others):
        Replay.seen = others[0]
        return set()
    difference = intersection = issubset = issuperset = union = count = index = isdisjoint = keep
    symmetric_difference = __eq__ = __contains__ = __rsub__ = __sub__ = __or__ = __ror__ = __and__ = __ne__ = keep
    __array_ufunc__ = __array_function__ = __lt__ = __gt__ = keep
    __hash__ = None
    def __iter__(self): return iter(Replay.seen or ())
    def __len__(self): return len(Replay.seen or ())
    def __bool__(self): return True
def answer(): return Replay()
"""


@pytest.mark.parametrize("base", ["", "(set)", "(list)", "(frozenset)"])
@pytest.mark.parametrize(
    "check",
    [
        "assertSetEqual(answer(), {1, 2})",
        "assertSetEqual({1, 2}, answer())",
        "assertEqual(answer(), {1, 2})",
        "assertCountEqual(answer(), [1, 2])",
        "assertSequenceEqual(answer(), [1, 2])",
        "assertAlmostEqual(answer(), 1.5)",
        "assertIn(1, answer())",
        "assertFalse({1, 2} ^ set(answer()))",
        "assertFalse(answer().__rsub__({1, 2}))",
        "assertFalse(type(answer()).__rsub__(answer(), {1, 2}))",
    ],
)
async def test_an_assertion_does_not_show_the_expected_value(check: str, base: str, program_score: Grade) -> None:
    assert (await program_score(REPLAYS.format(base=base), UNITTEST.format(check=check))).value == 0


async def test_a_lie_about_a_containers_contents_shows_nothing(program_score: Grade) -> None:
    cheat = """
class S(set): pass
class Keeper:
    seen = ()
    def keep(self, other): Keeper.seen = other; return set()
    def __getattr__(self, name): return self.keep
    def __iter__(self): return iter(Keeper.seen)
for thing in list(__import__('gc').get_objects()):
    if type(thing).__name__ == 'WorkerBridge':
        type(thing).do_plain = lambda self, value: Keeper()
def answer(): return S()
"""
    assert (await program_score(cheat, "assert not ({1, 2} - answer())")).value == 0


@pytest.mark.parametrize(
    ("made", "wrong", "right"),
    [
        ("set: {666}", "set(x) == set()", "set(x) == {666}"),
        ("set: {666}", "{666}.difference(x)", "{666, 1}.difference(x) == {1}"),
        ("set: {666}", "set().issuperset(x)", "{666}.issuperset(x) and x.issubset({666}) and not x.issubset({1})"),
        ("list: ['a']", "''.join(x) == ''", "''.join(x) == 'a' and [0] + x == [0, 'a'] and isinstance(x, list)"),
        ("list: ['a']", "[*x] == []", "[*x] == ['a'] and list(x) == ['a'] and x.count('a') == 1"),
        ("list: [len]", "answer in x", "x[0] in x and answer not in x"),
        ("dict: {'a': 1}", "dict(x) == {}", "dict(x) == {'a': 1} == {**x} and isinstance(x, dict)"),
        ("dict: {'a': 1}", "x.keys() == set()", "{'b': 2} | x == {'a': 1, 'b': 2} and type(x).__name__ == 'S'"),
    ],
)
async def test_a_container_of_the_programs_is_what_it_holds(
    made: str, wrong: str, right: str, program_score: Grade
) -> None:
    base, _, content = made.partition(": ")
    program = f"class S({base}): pass\ndef answer(): return S({content})"
    assert (await program_score(program, f"x = answer()\nassert {wrong}")).value == 0
    assert (await program_score(program, f"x = answer()\nassert {right}")).value == 1


@pytest.mark.parametrize("convert", ["float", "int", "complex", "__import__('operator').index", "hash"])
async def test_a_result_is_one_number_however_often_it_is_asked(convert: str, program_score: Grade) -> None:
    program = """
import itertools
numbers = itertools.count()
class Many:
    def __float__(self): return float(next(numbers))
    def __complex__(self): return complex(next(numbers))
    def __int__(self): return next(numbers)
    __index__ = __hash__ = __int__
def answer(): return Many()
"""
    check = "x = answer()\nassert {convert}(x) {sign} {convert}(x)"
    assert (await program_score(program, check.format(convert=convert, sign="!="))).value == 0
    assert (await program_score(program, check.format(convert=convert, sign="=="))).value == 1
