"""DeLoRA: low-rank updates of a trained length."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Delora(LayerMethod):
    title: ClassVar[str] = "DeLoRA"
    summary: ClassVar[str] = "trains low-rank updates whose strength is bounded and trained apart"
    reference: ClassVar[str] = "Bini et al. 2025 (DeLoRA), for RoBERTa-base: 1e-3 to 1e-2, lambda 4 to 15"
    shortfall: ClassVar[str] = (
        "12 points of accuracy on rotten_tomatoes with SmolLM2-135M and 1,000 sentences, where one seed of three "
        "learned nothing at the rate that was found; the other two reach 78.2%, 5 behind: they fit the sentences "
        "(loss 0.16) and not the test; 0 to 1 with all-MiniLM-L6-v2"
    )
    config: ClassVar[str] = "DeloraConfig"
    per_layer: ClassVar[str] = "r * (inputs + outputs) + 1"
    starting_rate: ClassVar[float] = 1.5e-3
    mergeable: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    method: Literal["delora"] = "delora"
    r: int = Field(default=8, gt=0, le=MOST, description="rank of the updates")
    delora_lambda: float = Field(default=15.0, gt=0, description="first strength of the updates")
    module_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
