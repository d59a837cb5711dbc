"""LoRA: low-rank updates beside frozen weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod, check_rank

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class LowRank(LayerMethod):
    """The options that LoRA and its relatives share."""

    config: ClassVar[str] = "LoraConfig"
    per_layer: ClassVar[str] = "r * (inputs + outputs)"
    mergeable: ClassVar[bool] = True
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    starting_rate: ClassVar[float] = 1e-3

    r: int = Field(default=8, gt=0, le=MOST, description="rank of the updates")
    lora_alpha: int = Field(default=16, gt=0, description="the update is scaled by lora_alpha / r")
    lora_dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout before the update")


class StartedLowRank(LowRank):
    """LoRA whose updates start as a part of the weights, which is taken from these at the same time.

    That part is kept beside the layers: it makes what is saved plain LoRA on the weights as they were.
    """

    begins_as: ClassVar[str]
    """Which part, as peft's `init_lora_weights` calls it."""
    backbone_bits: ClassVar[tuple[int, ...]] = ()
    in_run_precision: ClassVar[bool] = True

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        check_rank(loaded, names, "r", self.r)
        # An outline has no weights to take a part of, and to decompose random ones of a large model takes minutes.
        start = True if loaded.model.device.type == "meta" else self.begins_as
        return {**super().options(loaded, names), "init_lora_weights": start}

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        model: Any = super().adapt(loaded)
        for module in model.modules():
            for factor in ("lora_A", "lora_B"):
                if hasattr(module, "lora_A") and model.active_adapter in getattr(module, factor):
                    weight = getattr(module, factor)[model.active_adapter].weight
                    module.register_buffer(factor.replace("lora", "start"), weight.detach().clone(), persistent=False)
        return model


class Lora(LowRank):
    title: ClassVar[str] = "LoRA"
    summary: ClassVar[str] = "trains low-rank updates of chosen linear layers, and the head"
    reference: ClassVar[str] = "Hu et al. 2021 (LoRA), appendix D: 4e-4 to 5e-4 for RoBERTa-base, query and value"
    in_run_precision: ClassVar[bool] = True

    method: Literal["lora"] = "lora"
