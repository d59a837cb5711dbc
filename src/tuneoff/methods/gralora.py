"""GraLoRA: low-rank updates of the blocks of each weight."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Gralora(LayerMethod):
    title: ClassVar[str] = "GraLoRA"
    summary: ClassVar[str] = "trains low-rank updates of blocks of each weight, and the head"
    reference: ClassVar[str] = "Jung et al. 2025 (GraLoRA); options as in peft"
    config: ClassVar[str] = "GraloraConfig"
    per_layer: ClassVar[str] = "r * (inputs + outputs)"
    shortfall: ClassVar[str] = (
        "15 points of accuracy on IMDb, where one seed of three learned nothing at the rate that was found; the "
        "other two reach 88.3%, 1.5 points behind; none to 1 on TREC-6 and rotten_tomatoes"
    )
    starting_rate: ClassVar[float] = 5e-4
    mergeable: ClassVar[bool] = True

    method: Literal["gralora"] = "gralora"
    r: int = Field(default=32, gt=0, le=MOST, description="sum of the ranks of a row of blocks")
    alpha: int = Field(default=64, gt=0, description="the update is scaled by alpha / r")
    gralora_k: int = Field(default=2, gt=1, description="rows and columns of blocks")
    gralora_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
