"""DEFT: a direction that is projected out of each weight and written anew."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Deft(LayerMethod):
    title: ClassVar[str] = "DEFT"
    summary: ClassVar[str] = (
        "trains a projection that takes directions out of each weight, and what is put in their place"
    )
    reference: ClassVar[str] = "DEFT (Decompositional Efficient Fine-Tuning), as in peft 0.21"
    config: ClassVar[str] = "DeftConfig"
    per_layer: ClassVar[str] = "r * (inputs + outputs)"
    starting_rate: ClassVar[float] = 1e-3
    mergeable: ClassVar[bool] = True

    method: Literal["deft"] = "deft"
    r: int = Field(default=8, gt=0, le=MOST, description="directions")
    decomposition_method: Literal["relu", "qr"] = Field(
        default="relu", description="how the projection is made; only qr makes it orthogonal"
    )
    deft_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
