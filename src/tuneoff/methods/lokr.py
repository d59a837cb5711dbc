"""LoKr: updates that are Kronecker products."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class LoKr(LayerMethod):
    title: ClassVar[str] = "LoKr"
    summary: ClassVar[str] = "trains Kronecker products as updates of the weights, and the head"
    reference: ClassVar[str] = "Edalati et al. 2022 (KronA), Yeh et al. 2024 (LyCORIS)"
    config: ClassVar[str] = "LoKrConfig"
    per_layer: ClassVar[str] = (
        "in_small * out_small + "
        "(r * (in_large + out_large) if r < max(in_large, out_large) / 2 else in_large * out_large)"
    )
    starting_rate: ClassVar[float] = 6e-3
    mergeable: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    method: Literal["lokr"] = "lokr"
    r: int = Field(default=8, gt=0, le=MOST, description="rank of the larger factor")
    alpha: int = Field(default=8, gt=0, description="the update is scaled by alpha / r")
    rank_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of ranks left out of a step")
    module_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of layers left out of a step")
