"""LoRA: low-rank updates beside frozen weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class LowRank(ArmSpec):
    """The options that LoRA and its relatives share, and how peft applies them."""

    mergeable: ClassVar[bool] = True
    starting_rate: ClassVar[float] = 1e-3

    r: int = Field(default=8, gt=0, description="rank of the updates")
    alpha: int = Field(default=16, gt=0, description="the update is scaled by alpha / r")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the update")
    target_modules: tuple[str, ...] = Field(
        default=(), description="linear layers by name; the attention's query and value when empty"
    )

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        from peft import LoraConfig, TaskType, get_peft_model

        from tuneoff.models.architecture import layers_of
        from tuneoff.models.layers import linear_modules

        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=linear_modules(loaded, self.target_modules or layers_of(loaded.architecture).query_value),
            modules_to_save=list(loaded.head_modules),
        )
        return get_peft_model(loaded.model, config)


class Lora(LowRank):
    summary: ClassVar[str] = "trains low-rank updates of chosen linear layers, and the head"
    reference: ClassVar[str] = "Hu et al. 2021 (LoRA), appendix D: 4e-4 to 5e-4 for RoBERTa-base, query and value"

    method: Literal["lora"] = "lora"
