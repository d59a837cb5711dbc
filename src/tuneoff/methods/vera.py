"""VeRA: vectors that scale random projections, which all layers share."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Vera(LayerMethod):
    title: ClassVar[str] = "VeRA"
    summary: ClassVar[str] = "trains vectors that scale shared random projections, and the head"
    reference: ClassVar[str] = (
        "Kopiczko et al. 2024 (VeRA), table 8: 4e-3 to 2e-2 for RoBERTa-base, rank 1024; rank 256 as in peft"
    )
    config: ClassVar[str] = "VeraConfig"
    per_layer: ClassVar[str] = "r + outputs"
    starting_rate: ClassVar[float] = 2e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["vera"] = "vera"
    r: int = Field(default=256, gt=0, le=MOST, description="rank of the shared projections")
    vera_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
    d_initial: float = Field(default=0.1, gt=0, description="first value of the vector inside")
    projection_prng_key: int = Field(default=0, ge=0, lt=2**63, description="seed of the projections")
