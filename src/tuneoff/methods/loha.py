"""LoHa: updates that are elementwise products of two low-rank ones."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class LoHa(LayerMethod):
    title: ClassVar[str] = "LoHa"
    summary: ClassVar[str] = "trains products, element by element, of two low-rank updates"
    reference: ClassVar[str] = "Hyeon-Woo et al. 2022 (FedPara), Yeh et al. 2024 (LyCORIS)"
    config: ClassVar[str] = "LoHaConfig"
    per_layer: ClassVar[str] = "2 * r * (inputs + outputs)"
    starting_rate: ClassVar[float] = 3e-3
    mergeable: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    method: Literal["loha"] = "loha"
    r: int = Field(default=8, gt=0, le=MOST, description="rank of the updates")
    alpha: int = Field(default=8, gt=0, description="the update is scaled by alpha / r")
    rank_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of ranks left out of a step")
    module_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of layers left out of a step")
