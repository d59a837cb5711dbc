"""RoAd: rotations and scales of pairs of outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import LayerMethod, common_divisor, widths

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class Road(LayerMethod):
    title: ClassVar[str] = "RoAd"
    summary: ClassVar[str] = "trains rotations and scales of pairs of a layer's outputs, and the head"
    reference: ClassVar[str] = "Liao and Monz 2024 (RoAd): 1e-3 to 3e-3 for RoBERTa"
    config: ClassVar[str] = "RoadConfig"
    per_layer: ClassVar[str] = "outputs * {'road_1': 1, 'road_2': 2, 'road_4': 4}[variant]"
    starting_rate: ClassVar[float] = 8e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["road"] = "road"
    variant: Literal["road_1", "road_2", "road_4"] = Field(
        default="road_1", description="how many values a pair has: 2, 4 or 8"
    )
    group_size: int | None = Field(
        default=None,
        gt=1,
        description="outputs among which pairs are made; the most up to 64 that divides them when left out",
    )

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        outputs = (outputs for _, outputs in widths(loaded, names))
        return {**super().options(loaded, names), "group_size": self.group_size or common_divisor(outputs, 64)}
