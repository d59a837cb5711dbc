"""C3A: updates that are circular convolutions, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import LayerMethod, common_divisor, widths

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class C3A(LayerMethod):
    title: ClassVar[str] = "C3A"
    summary: ClassVar[str] = "trains circular convolutions as updates of the weights, and the head"
    reference: ClassVar[str] = "Chen et al. 2024 (C3A): 1e-1 to 9e-1 for RoBERTa-base"
    shortfall: ClassVar[str] = (
        "6 points of accuracy on rotten_tomatoes with SmolLM2-135M and 1,000 sentences: the head, trained at the "
        "same rate, bears no more than 0.01 there (loss 7 in a first epoch at 0.19), at which the convolutions "
        "learn slowly; 2 with all-MiniLM-L6-v2"
    )
    config: ClassVar[str] = "C3AConfig"
    per_layer: ClassVar[str] = "inputs * outputs / block_size"
    starting_rate: ClassVar[float] = 3e-1
    mergeable: ClassVar[bool] = True

    method: Literal["c3a"] = "c3a"
    block_size: int | None = Field(
        default=None,
        gt=0,
        description="of a convolution; the most up to 256 that divides the layers' widths when left out",
    )

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        sizes = (size for layer in widths(loaded, names) for size in layer)
        return {**super().options(loaded, names), "block_size": self.block_size or common_divisor(sizes, 256)}
