"""OFT: rotations of each layer's inputs, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tuneoff.core.errors import UserError
from tuneoff.methods.peft_method import LayerMethod, common_divisor, widths

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class OFT(LayerMethod):
    title: ClassVar[str] = "OFT"
    summary: ClassVar[str] = "trains orthogonal matrices that rotate blocks of a layer's inputs, and the head"
    reference: ClassVar[str] = "Qiu et al. 2023 (OFT), Qiu et al. 2025 (OFTv2, whose form peft has)"
    config: ClassVar[str] = "OFTConfig"
    per_layer: ClassVar[str] = "inputs * (oft_block_size - 1) / 2"
    starting_rate: ClassVar[float] = 1e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    method: Literal["oft"] = "oft"
    oft_block_size: int | None = Field(
        default=None, gt=1, description="of a rotation; the most up to 32 that divides the layers' inputs when left out"
    )
    module_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of rotations left out of a step")
    block_share: bool = Field(default=False, description="one rotation for all blocks of a layer")

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        inputs = sorted({inputs for inputs, _ in widths(loaded, names)})
        size = self.oft_block_size or common_divisor(inputs, 32)
        if any(one % size for one in inputs):  # peft would take another size, and say so in a warning alone
            raise UserError(
                f"oft_block_size = {size} does not divide the layers' inputs ({', '.join(map(str, inputs))})"
            )
        return {**super().options(loaded, names), "oft_block_size": size}
