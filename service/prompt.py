"""What a trial's model is asked first: a sample's prompt, or a conversation that was begun elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentlab.service.planner import Route
from agentlab.tasks.prompting import render, render_continuations, render_raw
from agentlab.traces.events import Usage

if TYPE_CHECKING:
    from agentlab.service.trial import Setting
    from agentlab.tasks.types import Sample
    from agentlab.traces.events import Message


@dataclass(frozen=True, slots=True)
class Begun:
    """What a conversation that goes on here has behind it."""

    workspace: bytes
    """A tar of the workspace at its last turn: laid into the box in place of the sample's files."""
    turns: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """A sample's prompt, rendered: messages for chat, text for raw, continuations for log-likelihoods."""

    messages: tuple[Message, ...] = ()
    text: str | None = None
    continuations: tuple[str, ...] = ()
    begun: Begun | None = None
    """Set where the messages are a conversation that goes on."""


def prompt_for(setting: Setting, sample: Sample, examples: tuple[Sample, ...]) -> Prompt:
    """The sample's prompt in the form that its task and route want."""
    task, route = setting.task, setting.route
    in_box = isinstance(route, Route) and route.agent.where != "direct"
    if task.method == "loglikelihood":
        return Prompt(
            text=render_raw(task, sample, examples=examples), continuations=render_continuations(task, sample)
        )
    if task.prompt_mode == "raw":
        return Prompt(text=render_raw(task, sample, examples=examples))
    return Prompt(messages=render(task, sample, in_box=in_box, examples=examples, system=setting.system))
