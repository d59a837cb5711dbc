"""BOFT: rotations of a layer's inputs, as products of butterflies."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import LayerMethod
from tuneoff.models.hide import compile_nothing

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class BOFT(LayerMethod):
    title: ClassVar[str] = "BOFT"
    summary: ClassVar[str] = "trains rotations that are made of small blocks in butterfly order, and the head"
    reference: ClassVar[str] = "Liu et al. 2024 (BOFT), table 7: 2e-4 to 1e-3 for DeBERTa-v3-base"
    config: ClassVar[str] = "BOFTConfig"
    per_layer: ClassVar[str] = "inputs * boft_block_size + outputs"
    starting_rate: ClassVar[float] = 5e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    method: Literal["boft"] = "boft"
    boft_block_size: int = Field(default=4, gt=0, description="of a block")
    boft_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of blocks left out of a step")

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        compile_nothing()
        return super().adapt(loaded)
