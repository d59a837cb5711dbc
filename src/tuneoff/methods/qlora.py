"""QLoRA: LoRA on a backbone stored in 4 bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from tuneoff.methods.lora import LowRank


class QLora(LowRank):
    summary: ClassVar[str] = "LoRA on a frozen backbone in 4-bit NormalFloat with double quantisation"
    reference: ClassVar[str] = "Dettmers et al. 2023 (QLoRA); learning rate as for LoRA"
    quantised: ClassVar[bool] = True

    method: Literal["qlora"] = "qlora"
