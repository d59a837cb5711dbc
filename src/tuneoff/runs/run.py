"""A run: what is trained once and scored once, with an identity of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.data.parts import WHOLE

if TYPE_CHECKING:
    from tuneoff.spec.arms import ArmSpec

RESULT_SCHEMA_VERSION = 4


@dataclass(frozen=True)
class Run:
    """One arm with one seed on one part of the data (see `tuneoff.data.parts`).

    A trial is a run that tunes: it is scored on validation only, and never opens the test split.

    Attributes:
        id: names it, and ends in a hash of all that decides its result.
        arm: with its learning rate.
        seed: of the head, the order of examples and the dropout.
        steps: optimiser steps.
        part: of the data.
        trial: whether it tunes.
    """

    id: str
    arm: ArmSpec
    seed: int
    steps: int
    part: str = WHOLE
    trial: bool = False

    def entry(self) -> dict[str, Any]:
        """What `plan.json` says of this run."""
        return {
            "id": self.id,
            "arm": self.arm.name,
            "method": self.arm.method,
            "seed": self.seed,
            "part": self.part,
            "learning_rate": self.arm.rate,
            "steps": self.steps,
            "trial": self.trial,
        }
