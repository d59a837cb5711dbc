"""VB-LoRA: low-rank updates that are mixtures of the vectors of one shared bank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tuneoff.methods.peft_method import MOST, LayerMethod, added_parameters, common_divisor, widths

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class VBLora(LayerMethod):
    title: ClassVar[str] = "VB-LoRA"
    summary: ClassVar[str] = "trains one bank of vectors, of which all layers' low-rank updates are mixed"
    reference: ClassVar[str] = "Li et al. 2024 (VB-LoRA): 1e-3 for the bank, 1e-2 for the mixtures, on RoBERTa"
    config: ClassVar[str] = "VBLoRAConfig"
    per_layer: ClassVar[str] = "r * num_vectors * (inputs + outputs) / vector_length"
    once: ClassVar[str] = "num_vectors * vector_length"
    starting_rate: ClassVar[float] = 1e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["vblora"] = "vblora"
    r: int = Field(default=4, gt=0, le=MOST, description="rank of the updates")
    num_vectors: int = Field(default=256, gt=0, le=MOST, description="vectors in the bank")
    vector_length: int | None = Field(
        default=None, gt=0, description="of a vector; the most up to 256 that divides the layers' widths when left out"
    )
    topk: int = Field(default=2, gt=0, le=MOST, description="vectors in a mixture")
    vblora_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
    mixture_rate: float = Field(default=10.0, gt=0, description="the mixtures' rate is so many times the learning rate")

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.topk > self.num_vectors:
            raise ValueError("topk is at most num_vectors")
        return self

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        sizes = (size for layer in widths(loaded, names) for size in layer)
        return {**super().options(loaded, names), "vector_length": self.vector_length or common_divisor(sizes, 256)}

    def rate_factors(self, model: nn.Module) -> dict[str, float]:
        return {name: self.mixture_rate for name in added_parameters(model) if "vblora_logits" in name}
