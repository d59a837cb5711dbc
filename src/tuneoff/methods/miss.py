"""MiSS: one small matrix that is repeated over a layer's inputs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Miss(LayerMethod):
    title: ClassVar[str] = "MiSS"
    summary: ClassVar[str] = "trains one matrix a layer that stands for all groups of its inputs"
    reference: ClassVar[str] = "Kang and Yin 2024 (Bone, now MiSS); rank 64 as in the paper"
    config: ClassVar[str] = "MissConfig"
    per_layer: ClassVar[str] = "r * outputs"
    starting_rate: ClassVar[float] = 5e-4
    backbone_bits: ClassVar[tuple[int, ...]] = (4,)
    mergeable: ClassVar[bool] = True

    method: Literal["miss"] = "miss"
    r: int = Field(default=64, gt=0, le=MOST, description="inputs in a group are inputs / r")
    miss_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
