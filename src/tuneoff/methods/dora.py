"""DoRA: LoRA of directions, beside trained magnitudes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tuneoff.methods.lora import LowRank

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class Dora(LowRank):
    title: ClassVar[str] = "DoRA"
    summary: ClassVar[str] = "LoRA that trains the magnitude of each output apart from its direction"
    reference: ClassVar[str] = "Liu et al. 2024 (DoRA); learning rate as for LoRA"
    per_layer: ClassVar[str] = "r * (inputs + outputs) + outputs"
    starting_rate: ClassVar[float] = 1e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4,)

    method: Literal["dora"] = "dora"

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        return {**super().options(loaded, names), "use_dora": True}
