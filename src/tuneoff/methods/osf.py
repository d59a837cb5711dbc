"""OSF: the lesser singular directions of each weight."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import LayerMethod


class OSF(LayerMethod):
    title: ClassVar[str] = "OSF"
    summary: ClassVar[str] = "trains the lesser singular directions of each weight, at right angles to the others"
    reference: ClassVar[str] = "Nayak et al. 2025 (OSF); half of the directions are kept, as in peft"
    config: ClassVar[str] = "OSFConfig"
    per_layer: ClassVar[str] = (
        "(min(inputs, outputs) - int(min(inputs, outputs) * effective_rank)) * (inputs + outputs + 1)"
    )
    starting_rate: ClassVar[float] = 3e-4
    mergeable: ClassVar[bool] = True

    method: Literal["osf"] = "osf"
    effective_rank: float = Field(default=0.5, gt=0, lt=1, description="share of the directions that stay as they are")
