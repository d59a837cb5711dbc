"""HiRA: updates in proportion to the weights themselves."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Hira(LayerMethod):
    title: ClassVar[str] = "HiRA"
    summary: ClassVar[str] = "trains low-rank factors by which each weight is changed in proportion"
    reference: ClassVar[str] = "Huang et al. 2025 (HiRA); rank 32 as there"
    config: ClassVar[str] = "HiraConfig"
    per_layer: ClassVar[str] = "r * (inputs + outputs)"
    starting_rate: ClassVar[float] = 5e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["hira"] = "hira"
    r: int = Field(default=32, gt=0, le=MOST, description="rank of the factors")
    hira_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
