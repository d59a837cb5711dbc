"""RandLoRA: full-rank updates out of scaled random bases, which all layers share."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class RandLora(LayerMethod):
    title: ClassVar[str] = "RandLoRA"
    summary: ClassVar[str] = "trains scales of shared random bases, whose sum has full rank"
    reference: ClassVar[str] = "Albert et al. 2025 (RandLoRA); alpha 20 r as in the paper"
    config: ClassVar[str] = "RandLoraConfig"
    per_layer: ClassVar[str] = "ceil(min(inputs, outputs) / r) * (r + min(inputs, outputs))"
    starting_rate: ClassVar[float] = 3e-4
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["randlora"] = "randlora"
    r: int = Field(default=32, gt=0, le=MOST, description="rank of one basis; higher ones mean fewer bases")
    randlora_alpha: int = Field(default=640, gt=0, description="the update is scaled by randlora_alpha / r")
    randlora_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
    projection_prng_key: int = Field(default=0, ge=0, lt=2**63, description="seed of the bases")
