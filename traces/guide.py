"""Guides that people label by: a YAML file with a name, a version, and the categories with a key and a definition each.

A key is one character, or two: the first of two chooses among groups (`plan.looped` is of the group `plan`).

name: refusal
version: 2
question: How did the model answer?
label: refusal          # under which name labels are stored; the guide's name unless given
categories:
  - {key: c, name: full_compliance, definition: It did what was asked.}
steps: []               # categories for single steps; those above unless given
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

RESERVED = "hjklgbfmnsuq? "
"""Keys of the screen that no category can have, small or capital."""
DEFAULT = Path(__file__).with_name("guides") / "failure.yaml"
NOTHING_WRONG = "none"
"""The category of our guide for a trial that went well, which the taxonomy of failures has no label for."""
_MAX_BYTES = 1 << 20
_MAX_CATEGORIES = 60


class GuideError(ValueError):
    """A guide that cannot be used. The message is one line: file, line, and what is wrong."""


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a trace or a step can be labelled as."""

    key: str
    name: str
    definition: str


class Guide(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked, and the categories to choose from."""

    name: str
    version: str
    categories: tuple[Category, ...]
    question: str = ""
    label: str = ""
    steps: tuple[Category, ...] = ()

    @property
    def label_name(self) -> str:
        """Under which name its labels are stored."""
        return self.label or self.name

    @property
    def step_categories(self) -> tuple[Category, ...]:
        return self.steps or self.categories

    @property
    def reference(self) -> str:
        """What a label keeps of it: `NAME@VERSION`."""
        return f"{self.name}@{self.version}"


def load_guide(path: Path | None = None) -> Guide:
    """The guide in a file (None: ours, of failures). Raises `GuideError`, `OSError`."""
    place = DEFAULT if path is None else path
    with place.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise GuideError(f"{place}: a guide of more than {_MAX_BYTES >> 20} MB")
    return parse_guide(data, str(place))


def parse_guide(data: bytes, where: str) -> Guide:
    """The guide in a YAML text; `where` is how errors call it. Raises `GuideError`."""
    try:
        root = yaml.compose(data, yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise GuideError(f"{where}:{line}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise GuideError(f"{where}:1: this is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(root, yaml.MappingNode):
        raise GuideError(f"{where}:1: a guide is a mapping with name, version and categories")
    lines = {key.value: key.start_mark.line + 1 for key, _ in root.value}
    try:
        # BaseLoader leaves every value the text that was typed: `key: 1` is the key 1, `version: 1.10` is 1.10.
        guide = msgspec.convert(yaml.load(data, yaml.BaseLoader), Guide)  # noqa: S506  makes nothing but texts
    except msgspec.ValidationError as error:
        raise GuideError(f"{where}:{_line_of(str(error), lines)}: {error}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise GuideError(f"{where}:1: this is no guide: {' '.join(str(error).split())}") from None
    for field in ("categories", "steps"):
        if problem := _problem(guide.categories if field == "categories" else guide.steps):
            raise GuideError(f"{where}:{lines.get(field, 1)}: {field}: {problem}")
    if not guide.name.strip() or not guide.version.strip() or not guide.categories:
        raise GuideError(f"{where}:1: a guide has a name, a version and at least one category")
    return guide


def _line_of(message: str, lines: dict[str, int]) -> int:
    """The line of the field that a message names as `$.field...`; 1 where it names none."""
    field = message.partition("$.")[2].strip("`").split("[")[0].split(".")[0]
    return lines.get(field, 1)


def _alike(one: str, other: str) -> bool:
    """Whether what is typed for one key begins what is typed for the other."""
    return one.startswith(other) or other.startswith(one)


def _problem(categories: tuple[Category, ...]) -> str:
    """What is wrong with a list of categories; empty where nothing is."""
    if len(categories) > _MAX_CATEGORIES:
        return f"{len(categories)} are more than a screen can hold ({_MAX_CATEGORIES})"
    for number, category in enumerate(categories):
        before = categories[:number]
        if not 1 <= len(category.key) <= 2 or not category.key.isprintable():
            return f"the key of {category.name!r} is one character or two, not {category.key!r}"
        if category.key[0].lower() in RESERVED:
            return f"the key {category.key!r} of {category.name!r} is taken by the screen ({RESERVED.strip()})"
        if not category.name.strip() or not category.name.isprintable():
            return f"the name with key {category.key!r} is empty, or not of printable characters"
        if clash := next((other for other in before if _alike(category.key, other.key)), None):
            return f"the keys {clash.key!r} and {category.key!r} cannot be told apart"
        if category.name in {other.name for other in before}:
            return f"{category.name!r} is given twice"
    return ""
