"""TinyLoRA: a handful of numbers a layer, spread over its largest singular directions."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class TinyLora(LayerMethod):
    title: ClassVar[str] = "TinyLoRA"
    summary: ClassVar[str] = "trains a short vector a layer, spread over its largest singular directions"
    reference: ClassVar[str] = "Morris et al. 2026 (TinyLoRA); options as in peft"
    shortfall: ClassVar[str] = (
        "8 to 22 points of accuracy, 4 with SmolLM2-135M: 64 numbers a layer learn slowly, and its training loss "
        "was still 0.60 of 0.69 nats on rotten_tomatoes after three epochs (0.36 with SmolLM2-135M)"
    )
    config: ClassVar[str] = "TinyLoraConfig"
    per_layer: ClassVar[str] = "u"
    starting_rate: ClassVar[float] = 6e-3
    mergeable: ClassVar[bool] = True

    method: Literal["tinylora"] = "tinylora"
    r: int = Field(default=2, gt=0, le=MOST, description="singular directions")
    u: int = Field(default=64, gt=0, le=MOST, description="numbers a layer")
    projection_seed: int = Field(default=42, ge=0, lt=2**63, description="seed of how they are spread")
    tinylora_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
