"""QLoRA: LoRA on a backbone stored in 4 bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.lora import LowRank


class QLora(LowRank):
    title: ClassVar[str] = "QLoRA"
    summary: ClassVar[str] = "LoRA on a frozen backbone in 4-bit NormalFloat with double quantisation"
    reference: ClassVar[str] = "Dettmers et al. 2023 (QLoRA); learning rate as for LoRA"
    in_run_precision: ClassVar[bool] = True

    method: Literal["qlora"] = "qlora"
    quantization: str = Field(default="nf4", description="how bitsandbytes stores the backbone: nf4, fp4 or int8")
