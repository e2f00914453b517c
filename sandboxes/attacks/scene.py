"""One attack under way: the box, its neighbour, and what is seen of them."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field

from agentlab.sandboxes.attacks.attack import Attack
from agentlab.sandboxes.attacks.outside import Outside
from agentlab.sandboxes.attacks.witness import Witness
from agentlab.sandboxes.protocol import ExecResult, Limits, Sandbox


@dataclass
class Scene:
    """What a look from outside has to go by. `result` is None where the box itself was lost."""

    attack: Attack
    box: Sandbox
    limits: Limits
    outside: Outside
    witness: Witness
    patience: float = 1.0
    """How much longer things may take on this machine now than on one at rest."""
    result: ExecResult | None = None
    seconds: float = 0.0
    runner_mb: int = 0
    """By how much the memory of this process has grown."""
    taken: list[bytes] = field(default_factory=list)
    """What came out of the box besides its output; secrets are looked for in it."""
    secrets: dict[str, bytes] = field(default_factory=dict)
    """What only the neighbour or the grader knows, by where it lies."""
    breaches: list[str] = field(default_factory=list)

    def breach(self, sentence: str) -> None:
        self.breaches.append(sentence)

    @property
    def time_limit(self) -> float:
        """Of the command, in seconds. What is to end by itself has more time on a machine that is busy."""
        return self.attack.seconds * (1.0 if "time" in self.attack.ends else self.patience)

    @property
    def output(self) -> bytes:
        return b"" if self.result is None else self.result.stdout + self.result.stderr

    def believed(self) -> None:
        """What the attack itself says to have reached; nobody says so without reason."""
        for line in self.output.decode("utf-8", "replace").split("\n"):
            if line.startswith("BROKE "):
                self.breach(line.removeprefix("BROKE "))
        everything = b"\n".join([self.output, *self.taken])
        for where, secret in self.secrets.items():
            if secret in everything:
                self.breach(f"read {where}")
        for sentence in self.outside.breaches(everything):
            self.breach(sentence)


async def exit_codes_are_true(scene: Scene) -> None:
    """While an attack runs: a command beside it ends as it does, and says what it says."""
    for code in (7, 0, 9):
        word = secrets.token_hex(8)
        result = await scene.box.exec(["sh", "-c", f"echo {word}; exit {code}"], timeout=60)
        # A box that is full of processes cannot start another one, and says so.
        if result.exit_code != 126 and (result.exit_code, result.stdout) != (code, f"{word}\n".encode()):
            scene.breach(
                f"a command that ends with {code} ended with {result.exit_code}, saying {result.stdout[:80]!r}"
            )
        await asyncio.sleep(0.05)
