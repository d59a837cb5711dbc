"""BEFT: the biases of the values alone."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import LayerMethod
from tuneoff.models.layers import Targets


class Beft(LayerMethod):
    title: ClassVar[str] = "BEFT"
    summary: ClassVar[str] = "trains the biases of the attention's values, and the head"
    reference: ClassVar[str] = "Huang et al. 2025 (BEFT): rates of bias tuning, 1e-3 and above"
    config: ClassVar[str] = "BeftConfig"
    per_layer: ClassVar[str] = "outputs"
    starting_rate: ClassVar[float] = 1e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True
    in_run_precision: ClassVar[bool] = True

    method: Literal["beft"] = "beft"
    targets: Targets = Field(default="value", description="layers that are adapted, by their role in a block")
