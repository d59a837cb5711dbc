"""LoRA-FA: LoRA whose first factor stays as it was drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tuneoff.methods.lora import LowRank
from tuneoff.methods.peft_method import added_parameters

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class LoraFA(LowRank):
    title: ClassVar[str] = "LoRA-FA"
    summary: ClassVar[str] = "LoRA that trains B alone, beside a frozen random A"
    reference: ClassVar[str] = "Zhang et al. 2023 (LoRA-FA); learning rate above LoRA's"
    per_layer: ClassVar[str] = "r * outputs"
    starting_rate: ClassVar[float] = 2e-3
    in_run_precision: ClassVar[bool] = True

    method: Literal["lora_fa"] = "lora_fa"

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        model = super().adapt(loaded)
        for name, parameter in added_parameters(model).items():
            if "lora_A" in name:
                parameter.requires_grad_(False)
        return model
