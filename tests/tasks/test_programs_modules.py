"""Modules of a program under a test file: what it imports behaves as in one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from agentlab.tasks import Score

pytestmark = pytest.mark.asyncio(loop_scope="module")
Grade = Callable[..., Awaitable[Score]]

MODULE = '''
import random
from abc import ABC, abstractmethod
from enum import Enum

LIMIT = 10
class Colour(Enum):
    RED = 1
    BLUE = 2

class BankError(ValueError):
    """A custom error."""
    def __init__(self, message, code):
        super().__init__(message)
        self.code = code

class Quiet(Exception):
    def __init__(self, message):
        self.message = message
    def __str__(self):
        return f"quiet {self.message}"

class Shape(ABC):
    sides = 0
    @abstractmethod
    def area(self): ...
    @classmethod
    def make(cls, *args): return cls(*args)
    @staticmethod
    def double(x): return 2 * x

class Square(Shape):
    sides = 4
    def __init__(self, size):
        self.size = size
        self.__secret = size * 10
    def area(self): return self.size ** 2
    @property
    def half(self): return self.size / 2
    @half.setter
    def half(self, value):
        if value < 0: raise BankError("negative", 7)
        self.size = value * 2
    def __eq__(self, other): return isinstance(other, Square) and self.size == other.size
    def __hash__(self): return hash(self.size)
    def __lt__(self, other): return self.size < other.size
    def __add__(self, other): return Square(self.size + other.size)
    def __neg__(self): return Square(-self.size)
    def __repr__(self): return f"Square({self.size})"
    def __format__(self, spec): return f"<{spec}:{self.size}>"
    def __getitem__(self, i):
        if i >= self.size: raise IndexError(i)
        return i
    def __len__(self): return self.size
    def __contains__(self, x): return x == 5
    def __call__(self, n): return self.size * n
    def __enter__(self): return self
    def __exit__(self, kind, error, trace):
        self.seen = (kind, str(error))
        return kind is KeyError

class Cell:
    def __init__(self, value): self._value, self.watchers = value, []
    @property
    def value(self): return self._value
    @value.setter
    def value(self, new):
        self._value = new
        for watcher in list(self.watchers): watcher(self, new)
    def watch(self, function): self.watchers.append(function)
    def unwatch(self, function): self.watchers.remove(function)

def apply(function, values): return [function(v) for v in values]
def read(file):
    with file as f: return [line.upper() for line in f]
def name(): return "".join(random.choice("abcdef") for _ in range(8))
def guess(wrapped):
    try: return wrapped()
    except KeyError as error: return f"caught {error.args[0]}"
def shout(text): print(text); return open(text).read()
'''

TESTS = """
import copy
import io
import random
import unittest
from unittest import mock

import thing
from thing import LIMIT, BankError, Cell, Colour, Quiet, Shape, Square, apply, guess, name, read


class OwnError(Exception):
    pass


class ThingTest(unittest.TestCase):
    def test_constants_and_enums(self):
        self.assertEqual((LIMIT, thing.LIMIT), (10, 10))
        self.assertIs(Colour.RED, thing.Colour["RED"])
        self.assertEqual([c.name for c in Colour], ["RED", "BLUE"])
        self.assertEqual(Colour(2), Colour.BLUE)
        self.assertEqual({Colour.RED: 1}[Colour.RED], 1)

    def test_classes(self):
        square = Square.make(3)
        self.assertIsInstance(square, Shape)
        self.assertTrue(issubclass(Square, Shape))
        self.assertEqual(type(square), Square)
        self.assertEqual((Square.sides, square.area(), Shape.double(4), square._Square__secret), (4, 9, 8, 30))
        self.assertEqual((square.__class__.__name__, Square.__name__), ("Square", "Square"))
        self.assertNotIsInstance(square, (int, str, Cell))
        with self.assertRaises(TypeError):
            Shape()
        with self.assertRaises(AttributeError):
            square.absent
        with self.assertRaisesRegex(TypeError, "missing 1 required positional argument"):
            Square()

    def test_properties(self):
        square = Square(4)
        square.half = 5
        self.assertEqual((square.half, square.size, hasattr(square, "nothing")), (5, 10, False))
        square.note = "new"
        self.assertEqual(square.note, "new")
        del square.note
        self.assertFalse(hasattr(square, "note"))

    def test_errors(self):
        with self.assertRaises(BankError) as caught:
            Square(1).half = -1
        self.assertEqual(type(caught.exception), BankError)
        self.assertEqual((caught.exception.args, caught.exception.code), (("negative",), 7))
        self.assertEqual(str(caught.exception), "negative")
        with self.assertRaises(ValueError):
            Square(1).half = -1
        with self.assertRaisesRegex(Quiet, "^quiet x$") as caught:
            raise Quiet("x")
        self.assertEqual((caught.exception.args, caught.exception.message), (("x",), "x"))

    def test_operators(self):
        one, two = Square(1), Square(2)
        self.assertEqual(one + two, Square(3))
        self.assertNotEqual(one, two)
        self.assertEqual(sorted([two, one]), [one, two])
        self.assertEqual([one, [two]], [Square(1), [Square(2)]])
        self.assertEqual(len({Square(1), one, two}), 2)
        self.assertEqual((-two).size, -2)
        self.assertEqual((repr(two), f"{two:wide}", two(4)), ("Square(2)", "<wide:2>", 8))
        self.assertEqual((len(two), list(two), two[1]), (2, [0, 1], 1))
        self.assertIn(1, two)
        self.assertNotIn(5, two)
        self.assertNotEqual(one, 1)
        with self.assertRaises(IndexError):
            two[7]

    def test_copies(self):
        cell = Cell([1, [2]])
        deep = copy.deepcopy(cell)
        self.assertIsNot(deep, cell)
        self.assertEqual(deep.value, cell.value)

    def test_context_managers(self):
        with Square(2) as square:
            self.assertEqual(square.size, 2)
        self.assertEqual(square.seen, (None, "None"))
        with square:
            raise KeyError("gone")
        self.assertEqual(square.seen, (KeyError, "'gone'"))
        with self.assertRaises(OwnError), square:
            raise OwnError("mine")
        self.assertEqual(square.seen[1], "mine")

    def test_callbacks(self):
        seen = []
        self.assertEqual(apply(lambda v: v + 1, [1, 2]), [2, 3])
        first, second = Cell(1), Cell(2)
        def follow(cell, new):
            seen.append((cell is first, new))
            second.value = new * 10
        first.watch(follow)
        second.watch(lambda cell, new: seen.append(new))
        first.value = 5
        self.assertEqual((seen, second.value), ([(True, 5), 50], 50))
        first.unwatch(follow)
        first.value = 6
        self.assertEqual(len(seen), 2)

    def test_errors_pass_through_the_program(self):
        error = OwnError("mine", 3)
        def fail(*_):
            raise error
        with self.assertRaises(OwnError) as caught:
            apply(fail, [1])
        self.assertIs(caught.exception, error)
        self.assertEqual(guess({}.popitem), "caught popitem(): dictionary is empty")

    def test_files_of_the_test(self):
        self.assertEqual(read(io.StringIO("a\\nb\\n")), ["A\\n", "B\\n"])

    @mock.patch("thing.open", create=True)
    @mock.patch("thing.LIMIT", 99)
    def test_patches(self, opened):
        opened.return_value = io.StringIO("text")
        self.assertEqual((thing.shout("file"), thing.LIMIT), ("text", 99))
        opened.assert_called_once_with("file")

    def test_patches_are_undone(self):
        self.assertEqual(thing.LIMIT, 10)
        with self.assertRaises(FileNotFoundError):
            thing.shout("no such file")

    def test_mocks(self):
        listener = mock.Mock(return_value=4)
        self.assertEqual(apply(listener, [1, 2]), [4, 4])
        self.assertEqual(listener.call_args_list, [mock.call(1), mock.call(2)])
        wrapped = mock.NonCallableMagicMock(wraps=io.StringIO("x\\n"))
        wrapped.__enter__.return_value = ["y"]
        self.assertEqual(read(wrapped), ["Y"])
        wrapped.__exit__.assert_called_once_with(None, None, None)

    def test_seeds_reach_the_program(self):
        random.seed(4)
        one = name()
        random.seed(4)
        self.assertEqual(name(), one)
        self.assertNotEqual(name(), one)


def test_plain_functions_are_run():
    assert Square(2).area() == 4


class TestPlainClasses:
    def setup_method(self, method):
        self.square = Square(3)

    def test_area(self):
        assert self.square.area() == 9
"""


async def test_modules_classes_errors_and_callbacks_behave_as_in_one_process(repository_score: Grade) -> None:
    score = await repository_score({"thing.py": MODULE}, TESTS, modules=("thing",))
    assert score.value == 1, score.explanation


async def test_the_same_tests_fail_when_one_line_is_wrong(repository_score: Grade) -> None:
    broken = MODULE.replace("self.size = value * 2", "self.size = value")
    score = await repository_score({"thing.py": broken}, TESTS, modules=("thing",))
    assert 0.5 < score.scores["passed"] < 1
    assert score.value == 0


async def test_packages_and_star_imports(repository_score: Grade) -> None:
    files = {
        "shop/__init__.py": "from shop.prices import PRICES\n",
        "shop/prices.py": "PRICES = {'a': 1}\ndef price(name): return PRICES[name]\n",
        "single.py": "def one(): return 1\ndef sorted(x): return 'mine'\ndef _two(): return 2\n",
    }
    test = (
        "import shop.prices\nfrom shop import PRICES, prices\nfrom single import *\n\n"
        "def test_all():\n    assert prices.price('a') == shop.prices.price('a') == 1 and PRICES == {'a': 1}\n"
        "    assert one() == 1 and sorted([2, 1]) == [1, 2] and '_two' not in globals()\n"
    )
    score = await repository_score(files, test, modules=("shop", "single"))
    assert score.value == 1, score.explanation
