"""HRA: products of Householder reflections before a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod, check_rank

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class HRA(LayerMethod):
    title: ClassVar[str] = "HRA"
    summary: ClassVar[str] = "trains a chain of reflections of each layer's inputs, and the head"
    reference: ClassVar[str] = "Yuan et al. 2024 (HRA); rank 8 as there for DeBERTa-v3-base"
    config: ClassVar[str] = "HRAConfig"
    per_layer: ClassVar[str] = "r * inputs"
    starting_rate: ClassVar[float] = 6e-3
    mergeable: ClassVar[bool] = True

    method: Literal["hra"] = "hra"
    r: int = Field(default=8, gt=0, le=MOST, description="reflections a layer")
    apply_GS: bool = Field(  # noqa: N815 (as peft calls it)
        default=False, description="makes the reflections' directions orthogonal"
    )

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        check_rank(loaded, names, "r", self.r)
        return super().options(loaded, names)
