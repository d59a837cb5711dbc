"""LoRA+: LoRA whose second factor is trained at a higher rate than its first."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.lora import LowRank
from tuneoff.methods.peft_method import added_parameters

if TYPE_CHECKING:
    from torch import nn


class LoraPlus(LowRank):
    title: ClassVar[str] = "LoRA+"
    summary: ClassVar[str] = "LoRA that trains B at a higher rate than A"
    reference: ClassVar[str] = "Hayou et al. 2024 (LoRA+): B at 16 times the rate of A, which is below LoRA's"
    starting_rate: ClassVar[float] = 2e-4
    in_run_precision: ClassVar[bool] = True

    method: Literal["lora_plus"] = "lora_plus"
    loraplus_lr_ratio: float = Field(default=16.0, ge=1, description="B's rate is so many times the learning rate")

    def rate_factors(self, model: nn.Module) -> dict[str, float]:
        return {name: self.loraplus_lr_ratio for name in added_parameters(model) if "lora_B" in name}
