"""The labels of the failure taxonomy: boundary and name, definition, and the nearest labels of others."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Boundary: TypeAlias = Literal[
    "plan", "perception", "action", "verification", "environment", "task", "grader", "budget", "result", "unknown"
]

BOUNDARIES: dict[Boundary, str] = {
    "plan": "What the agent set out to do, or did not set out to do, was wrong.",
    "perception": "The agent read what a tool or another agent told it wrongly, or not at all.",
    "action": "What the agent did to its world was wrong or was refused.",
    "verification": "The agent did not check its work, or ended at the wrong moment or in the wrong form.",
    "environment": "The place failed: endpoint, sandbox, network, a tool's back-end.",
    "task": "The task cannot be done as it stands.",
    "grader": "The verdict could not be had, or is wrong.",
    "budget": "A limit ended the trial.",
    "result": "It came to its end by itself, and the verdict is all that is known.",
    "unknown": "Nothing is known of the cause.",
}

ADHERENCE = "Instruction/Plan Adherence Failure"
INVENTION = "Invention of New Information"
INVOCATION = "Invalid Invocation"
MISREADING = "Misinterpretation of Tool Output / Handoff Failure"
MISALIGNMENT = "Intent-Plan Misalignment"
UNDERSPECIFIED = "Underspecified User Intent"
UNSUPPORTED = "Intent Not Supported"
GUARDRAILS = "Guardrails Triggered"
SYSTEM = "System Failure"
INCONCLUSIVE = "Inconclusive"
AGENTRX = (
    ADHERENCE,
    INVENTION,
    INVOCATION,
    MISREADING,
    MISALIGNMENT,
    UNDERSPECIFIED,
    UNSUPPORTED,
    GUARDRAILS,
    SYSTEM,
    INCONCLUSIVE,
)
"""AgentRx's categories in its order, 1 to 10."""


class Category(msgspec.Struct, frozen=True):
    """One label of the second level, and the nearest labels of others (empty where a scheme has none)."""

    boundary: Boundary
    name: str
    definition: str
    agentrx: str
    mast: str = ""
    trail: str = ""

    @property
    def value(self) -> str:
        """As it is stored."""
        return self.name if self.boundary == "unknown" else f"{self.boundary}.{self.name}"


ALL = (
    Category(
        "plan",
        "wrong_goal",
        "It worked towards another goal than the one that was asked for.",
        MISALIGNMENT,
        "Task Derailment",
        "Incorrect Problem Identification",
    ),
    Category(
        "plan",
        "steps_skipped",
        "It left out, reordered or added steps that policy or plan fix.",
        ADHERENCE,
        "Disobey Task Specification",
        "Instruction Non-compliance",
    ),
    Category(
        "plan",
        "nothing_done",
        "What was to be changed or made was never begun.",
        ADHERENCE,
        "Disobey Task Specification",
        "Instruction Non-compliance",
    ),
    Category(
        "plan",
        "gave_up",
        "It stopped without a result and said so, or handed the task over.",
        ADHERENCE,
        "Premature Termination",
        "Goal Deviation",
    ),
    Category("plan", "invented", "It relied on something that no one had told it.", INVENTION, "", "Language-only"),
    Category("plan", "looped", "It did the same again and again.", ADHERENCE, "Step Repetition", "Resource Abuse"),
    Category(
        "perception",
        "misread_output",
        "It drew from a tool's output what does not stand there, or passed over what does.",
        MISREADING,
        "Ignored Other Agent's Input",
        "Tool Output Misinterpretation",
    ),
    Category(
        "perception",
        "lost_context",
        "It no longer knew what had been said or done before.",
        MISREADING,
        "Loss of Conversation History",
        "Context Handling Failures",
    ),
    Category(
        "action",
        "invalid_call",
        "A call could not be read, or did not fit its tool.",
        INVOCATION,
        "",
        "Formatting Errors",
    ),
    Category(
        "action",
        "wrong_tool",
        "It called a tool that is not there, or that does something else.",
        INVOCATION,
        "",
        "Tool Selection Errors",
    ),
    Category(
        "action",
        "error_not_recovered",
        "What it did was refused or failed, and it found no other way.",
        INVOCATION,
        "",
        "Tool-related",
    ),
    Category(
        "action",
        "wrong_place",
        "It acted on the wrong file, record or page.",
        MISALIGNMENT,
        "Task Derailment",
        "Goal Deviation",
    ),
    Category("action", "regression", "It broke what had worked.", ADHERENCE, "", "Goal Deviation"),
    Category(
        "action",
        "tampering",
        "It changed what it was to be judged by.",
        ADHERENCE,
        "Disobey Task Specification",
        "Instruction Non-compliance",
    ),
    Category(
        "verification",
        "not_checked",
        "It did not try its work, or not in its last state.",
        ADHERENCE,
        "No or Incorrect Verification",
        "Task Orchestration",
    ),
    Category(
        "verification",
        "ended_too_early",
        "It ended although it had seen that its work does not do.",
        ADHERENCE,
        "Premature Termination",
        "Task Orchestration",
    ),
    Category(
        "verification",
        "wrong_form",
        "The answer is not in the form that was asked for.",
        ADHERENCE,
        "Disobey Task Specification",
        "Formatting Errors",
    ),
    Category("environment", "model", "The model's endpoint failed.", SYSTEM, "", "Service Errors"),
    Category("environment", "sandbox", "The sandbox failed.", SYSTEM, "", "Environment Setup Errors"),
    Category(
        "environment", "service", "A network or a service that a tool needs failed.", SYSTEM, "", "Service Errors"
    ),
    Category(
        "environment",
        "blocked",
        "A policy or an access control refused what was a valid plan.",
        GUARDRAILS,
        "",
        "Authentication Errors",
    ),
    Category("task", "broken", "The task could not be set up or routed.", SYSTEM, "", "Environment Setup Errors"),
    Category(
        "task",
        "underspecified",
        "Something that is needed was told nowhere.",
        UNDERSPECIFIED,
        "Fail to Ask for Clarification",
        "",
    ),
    Category("task", "unsupported", "No tool can do what is asked.", UNSUPPORTED, "", "Tool Definition Issues"),
    Category("grader", "failed", "The grader gave no verdict.", SYSTEM, "", "Environment Setup Errors"),
    Category("grader", "wrong_verdict", "People hold the verdict to be wrong.", INCONCLUSIVE),
    Category(
        "budget", "turns", "The limit on turns.", SYSTEM, "Unaware of Termination Conditions", "Resource Exhaustion"
    ),
    Category("budget", "tokens", "The limit on tokens.", SYSTEM, "", "Resource Exhaustion"),
    Category("budget", "time", "The limit on time.", SYSTEM, "", "Timeout Issues"),
    Category("budget", "cost", "The limit on money.", SYSTEM, "", "Resource Exhaustion"),
    Category("budget", "memory", "The limit on memory.", SYSTEM, "", "Resource Exhaustion"),
    Category(
        "budget",
        "context",
        "The conversation no longer fitted the model's context.",
        SYSTEM,
        "Loss of Conversation History",
        "Context Handling Failures",
    ),
    Category(
        "budget", "answer_length", "The last answer was cut off by its token limit.", SYSTEM, "", "Resource Exhaustion"
    ),
    Category("budget", "cancelled", "The run ended before the trial.", SYSTEM),
    Category("result", "wrong", "It ended by itself, and the result is not right: no step shows why.", INCONCLUSIVE),
    Category(
        "result", "partial", "It ended by itself, and the result is right in part: no step shows why.", INCONCLUSIVE
    ),
    Category("unknown", "unknown", "No detector, classifier, judge or person says why.", INCONCLUSIVE),
)
CATEGORIES: dict[str, Category] = {category.value: category for category in ALL}
"""Every label by its value."""
