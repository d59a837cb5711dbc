"""PiSSA: LoRA that begins at the principal singular vectors of the weights."""

from __future__ import annotations

from typing import ClassVar, Literal

from tuneoff.methods.lora import StartedLowRank


class Pissa(StartedLowRank):
    title: ClassVar[str] = "PiSSA"
    summary: ClassVar[str] = "LoRA that starts as the largest singular parts of the weights and freezes the rest"
    reference: ClassVar[str] = "Meng et al. 2024 (PiSSA); learning rate as for LoRA, or below"
    starting_rate: ClassVar[float] = 5e-4

    begins_as: ClassVar[str] = "pissa"

    method: Literal["pissa"] = "pissa"
