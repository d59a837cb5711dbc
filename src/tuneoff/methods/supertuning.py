"""Super-Tuning: the largest entries of each weight."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import LayerMethod


class Supertuning(LayerMethod):
    title: ClassVar[str] = "Super-Tuning"
    summary: ClassVar[str] = "trains the few largest entries of each weight matrix, and the head"
    reference: ClassVar[str] = "Super-Tuning (arXiv 2607.09287), options as in peft"
    config: ClassVar[str] = "SupertuningConfig"
    per_layer: ClassVar[str] = "max(1, int(inputs * outputs * (1 - sparsity)))"
    starting_rate: ClassVar[float] = 6e-3
    mergeable: ClassVar[bool] = True

    method: Literal["supertuning"] = "supertuning"
    sparsity: float = Field(default=0.99, ge=0, lt=1, description="share of the entries that stay as they are")
