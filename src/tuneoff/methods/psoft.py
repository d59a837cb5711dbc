"""PSOFT: a rotation of the principal subspace of each weight."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Psoft(LayerMethod):
    title: ClassVar[str] = "PSOFT"
    summary: ClassVar[str] = "trains a rotation among the largest singular directions of each weight"
    reference: ClassVar[str] = "Wu et al. 2026 (PSOFT); options as in peft"
    shortfall: ClassVar[str] = (
        "5 points of accuracy on rotten_tomatoes, 6 on IMDb, 2 on TREC-6: validation accuracy still rose by two "
        "points in the third epoch of the first; rank 64 did no better"
    )
    config: ClassVar[str] = "PsoftConfig"
    per_layer: ClassVar[str] = "r * (r - 1) / 2 + 2 * r"
    starting_rate: ClassVar[float] = 5e-3
    mergeable: ClassVar[bool] = True

    method: Literal["psoft"] = "psoft"
    r: int = Field(default=32, gt=0, le=MOST, description="directions that are rotated")
    psoft_alpha: int = Field(default=32, gt=0, description="the update is scaled by psoft_alpha / r")
    psoft_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
