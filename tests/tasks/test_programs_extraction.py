"""From an answer to a program: fences, prose, bare bodies, helpers in blocks of their own."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.tasks.scorers.programs.extraction import extract_program, top_level_names, without_function

PROMPT = '''from typing import List


def total(xs: List[int]) -> int:
    """ Add up.
    >>> total([1])
    1
    """
'''
WHOLE = "def total(xs):\n    return sum(xs)\n"
FENCED = f"```python\n{WHOLE}```\n"

COMPLETE = {
    "the code alone": WHOLE,
    "a fenced block": f"Here it is:\n\n```python\n{WHOLE}```\nIt adds.",
    "a fence without a language": f"```\n{WHOLE}```",
    "a fence that is not closed": f"Sure.\n```python\n{WHOLE}",
    "tildes": f"~~~py\n{WHOLE}~~~",
    "windows line ends": f"```python\r\n{WHOLE}```".replace("\n", "\r\n"),
    "an indented fence": f"1. Do this:\n   ```python\n   {WHOLE.replace(chr(10), chr(10) + '   ')}\n   ```",
    "a usage example after it": f"```python\n{WHOLE}```\nUse it:\n```python\nprint(total([1, 2]))\n```",
    "a shell block after it": f"```python\n{WHOLE}```\n```bash\npython solution.py\n```",
    "a first try before it": f"```python\ndef total(xs):\n    return 0\n```\n\n```python\n{WHOLE}```",
    "an import of it in a usage example": FENCED + "```python\nfrom solution import total\nprint(total([1]))\n```",
    "its signature alone after it": FENCED + "Its signature:\n```python\ndef total(xs: list) -> int: ...\n```",
    "its signature and docstring after it": FENCED + '```python\ndef total(xs):\n    """Add up."""\n```',
    "a language with a version": f"```python3.12\n{WHOLE}```\n```python\nprint(total([1]))\n```",
    "a fence as an item of a list": f"* ```python\n  {WHOLE.replace(chr(10), chr(10) + '  ')}\n  ```",
    "a fence at the end of a sentence": f"Here is the code:```python\n{WHOLE}```",
    "words behind the closing fence": f"```python\n{WHOLE}``` This adds.",
    "an end token behind the closing fence": f"```python\n{WHOLE}```<|im_end|>",
    "a prose line that begins like code": f"It is\nfrom the book, the\ndefault.\n\n{WHOLE}\nThat is all.",
    "a line separator in a string": f"I would write:\n\nimport re\nSEPARATOR = '\u2028'\n{WHOLE}\nThat is all.",
    "prose around code without a fence": f"I would write:\n\n{WHOLE}\nThis runs in linear time, doesn't it?",
    "an imported name": "```python\nfrom math import fsum as total\n```",
    "an assigned name": "total = sum",
    "the body with its indentation": "    return sum(xs)\n",
    "the body without its indentation": "return sum(xs)\n",
    "the body with the first indentation lost": "s = 0\n    for x in xs:\n        s += x\n    return s\n",
    "the body with an inner function": "    def add(a, b):\n        return a + b\n    return sum(xs)\n",
    "the body in a fence": "```python\n    return sum(xs)\n```",
    "the body and then prose": "    return sum(xs)\n\nThis is right.\n",
}


@pytest.mark.parametrize("name", COMPLETE)
def test_the_program_is_found(name: str) -> None:
    found = extract_program(COMPLETE[name], ["total"], PROMPT)
    assert found.complete
    scope: dict[str, object] = {}
    exec(found.code, scope)
    assert scope["total"]([1, 2, 3]) == 6  # type: ignore[operator]


def test_blocks_are_joined_where_no_single_one_suffices() -> None:
    answer = "```python\ndef add(a, b):\n    return a + b\n```\nand\n```python\nclass Adder: pass\n```"
    found = extract_program(answer, ["add", "Adder"])
    assert found.complete
    assert found.code.index("def add") < found.code.index("class Adder")


def test_a_program_with_fences_in_its_docstring_is_taken_whole() -> None:
    program = '"""Doc.\n\n```python\ntotal = 1\n```\n"""\n' + WHOLE
    for text in (program, "\ufeff" + program, program.replace("\n", "\r\n")):
        found = extract_program(text, ["total"], PROMPT)
        assert found.complete and found.code == program


def test_a_fenced_program_with_fences_in_its_docstring_is_found() -> None:
    program = 'def total(xs):\n    """Add.\n\n    ```\n    total([1])\n    ```\n    """\n    return sum(xs)\n'
    assert extract_program(f"Here:\n```python\n{program}```\n", ["total"]).complete


def test_helpers_in_earlier_blocks_come_along_and_first_tries_do_not() -> None:
    blocks = (
        "from math import fsum",
        "def helper(xs):\n    return fsum(xs)",
        "raise SystemExit",
        "def total(xs):\n    return helper(xs)",
        "print(total([1]))",
    )
    found = extract_program("\n".join(f"```python\n{block}\n```" for block in blocks), ["total"])
    assert found.complete and "SystemExit" not in found.code and "print" not in found.code
    scope: dict[str, object] = {}
    exec(found.code, scope)
    assert scope["total"]([1, 2, 3]) == 6  # type: ignore[operator]


def test_a_program_that_lacks_the_name_is_given_but_not_complete() -> None:
    found = extract_program("```python\ndef sum_up(xs):\n    return sum(xs)\n```", ["total"], PROMPT)
    assert not found.complete
    assert "sum_up" in found.code
    assert "def total" not in found.code


@pytest.mark.parametrize(
    "answer", ["", "42", "I don't know.", "```python\n```", "The function adds.", "```json\n{}\n```", "def total(xs:"]
)
def test_what_is_no_program_gives_none(answer: str) -> None:
    assert extract_program(answer, ["total"]).code.strip() == ""


@given(st.text(alphabet="`~ \n\tdefclass():=python'\"#\\x01", max_size=300))
def test_any_text_is_survived(answer: str) -> None:
    found = extract_program(answer, ["total"], PROMPT)
    assert found.complete or "total" not in found.code or found.code


def test_a_long_answer_is_read_quickly() -> None:
    prose = "So def is a keyword, isn't it.\n" * 3000
    started = time.perf_counter()
    assert extract_program(WHOLE + prose, ["total"], PROMPT).complete
    assert not extract_program("def f(:\n" + prose, ["total"], PROMPT).complete
    assert time.perf_counter() - started < 2


def test_hostile_nesting_is_survived() -> None:
    assert not extract_program("(" * 100_000, ["total"]).complete
    assert not extract_program("-" * 100_000 + "1", ["total"]).complete
    assert not extract_program("x = " + "[" * 3000 + "]" * 3000, ["total"]).complete


def test_what_stands_around_a_prompt() -> None:
    prompt = 'import math\n\n\ndef helper(x):\n    return x\n\n\ndef total(xs):\n    """ Add. """\n'
    assert top_level_names(without_function(prompt, "total")) == ("math", "helper")
