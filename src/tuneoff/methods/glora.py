"""GLoRA: scales, shifts and prompts of each layer in one form."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Glora(LayerMethod):
    title: ClassVar[str] = "GLoRA"
    summary: ClassVar[str] = "trains factors, updates, shifts and inner prompts of each layer"
    reference: ClassVar[str] = "Chavan et al. 2023 (GLoRA); options as in peft"
    config: ClassVar[str] = "GloraConfig"
    per_layer: ClassVar[str] = "2 * r * (inputs + outputs) + (r * (inputs + 1) + 2 if bias else 0)"
    starting_rate: ClassVar[float] = 1e-3
    mergeable: ClassVar[bool] = True

    method: Literal["glora"] = "glora"
    r: int = Field(default=8, gt=0, le=MOST, description="rank of the updates")
