"""SHiRA: a few entries of each weight, at random places."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Shira(LayerMethod):
    title: ClassVar[str] = "SHiRA"
    summary: ClassVar[str] = "trains few entries of each weight matrix, at places drawn at random"
    reference: ClassVar[str] = "Bhardwaj et al. 2024 (SHiRA); as many entries as LoRA of that rank has"
    config: ClassVar[str] = "ShiraConfig"
    per_layer: ClassVar[str] = "r * (inputs + outputs)"
    starting_rate: ClassVar[float] = 2e-3
    mergeable: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True

    method: Literal["shira"] = "shira"
    r: int = Field(default=8, gt=0, le=MOST, description="as many entries as low-rank updates of this rank have")
