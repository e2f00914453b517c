"""Guides: ours is the taxonomy, and a wrong one says where."""

from __future__ import annotations

import pytest

from agentlab.traces.guide import NOTHING_WRONG, GuideError, load_guide, parse_guide
from agentlab.traces.taxonomy import CATEGORIES, FAILURE


def test_our_guide_is_the_taxonomy() -> None:
    ours = load_guide()
    assert ours.reference == "failure@3" and ours.label_name == FAILURE
    # Who does not know how a trial ended must be able to say that it went well: the taxonomy knows failures only.
    assert {category.name for category in ours.categories} == {*CATEGORIES, NOTHING_WRONG}
    for category in ours.categories:
        if category.name not in ("unknown", NOTHING_WRONG):
            assert category.definition == CATEGORIES[category.name].definition
            group = {other.name.partition(".")[0] for other in ours.categories if other.key[0] == category.key[0]}
            assert group == {category.name.partition(".")[0]}, "the first key chooses the boundary"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "g:1: a guide is a mapping"),
        ("name: [", "g:1: this is not YAML"),
        ("name: x\nversion: 1\n", "g:1: .*categories"),
        ("name: x\nversion: 1\ncategories:\n- {key: q, name: a, definition: d}\n", "g:3: .*'q' of 'a' is taken"),
        ("name: x\nversion: 1\ncategories:\n- {key: abc, name: a, definition: d}\n", "g:3: .*one character or two"),
        ("name: x\nversion: 1\nquestion: w\nsteps:\n- {key: a}\ncategories: []\n", "g:4: .*name"),
        ("name: x\nversion: 1\ncategories:\n- {key: a, name: a, definition: d}\n- {key: a1, name: b, definition: d}\n",
         "cannot be told apart"),
        ("name: x\nversion: 1\ncategories:\n- {key: a, name: \"a\\e[2J\", definition: d}\n", "not of printable"),
        ("name: &n [*n]", "g:1: this is no guide"),
    ],
)  # fmt: skip
def test_a_wrong_guide_says_where(text: str, wrong: str) -> None:
    with pytest.raises(GuideError, match=wrong):
        parse_guide(text.encode(), "g")
