"""What is wrong with the words of a command line, in one line that says what to do."""

from __future__ import annotations

import difflib
import re

import click

_PLAIN = (
    (re.compile(r"is not a valid integer range$"), "is no whole number"),
    (re.compile(r"is not a valid float range$"), "is no number"),
    (re.compile(r"is not in the range x>=(\S+)$"), r"is less than \1"),
    (re.compile(r"is not in the range x>(\S+)$"), r"is not more than \1"),
)
"""What click says of numbers, in words."""


def told(error: click.UsageError) -> str:
    """What is wrong, the nearest word where there is one, and whose help tells more."""
    helped = f"{error.ctx.command_path if error.ctx else 'agentlab'} --help"
    return f"{' '.join(_what(error).split()).rstrip('.')} (see {helped})"


def _what(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        # Two hyphens alone make two short names alike.
        name, *names = (option.lstrip("-") for option in (error.option_name, *(error.possibilities or ())))
        return f"there is no option {error.option_name}{_near(difflib.get_close_matches(name, names), '--')}"
    if isinstance(error, click.exceptions.NoSuchCommand):
        return f"there is no command {error.command_name!r}{_near(error.possibilities)}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{_name(error.param)} is missing"
    if isinstance(error, click.BadParameter) and error.param is not None:
        said = error.message.rstrip(".")
        for pattern, plain in _PLAIN:
            said = pattern.sub(plain, said)
        return f"{_name(error.param)}: {said}"
    if isinstance(error, click.BadOptionUsage):
        return error.format_message().removeprefix("Option ").replace("'", "")
    message = error.format_message()
    return message[:1].lower() + message[1:]


def _name(param: click.Parameter) -> str:
    return param.make_metavar(click.Context(click.Command(""))) if isinstance(param, click.Argument) else param.opts[0]


def _near(possibilities: list[str] | None, dashes: str = "") -> str:
    return f"; did you mean {dashes}{possibilities[0]}?" if possibilities else ""
