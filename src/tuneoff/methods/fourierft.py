"""FourierFT: updates with few frequencies."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class FourierFT(LayerMethod):
    title: ClassVar[str] = "FourierFT"
    summary: ClassVar[str] = "trains a few Fourier coefficients of each weight's update, and the head"
    reference: ClassVar[str] = "Gao et al. 2024 (FourierFT), table 9: 5e-2 to 2e-1 for RoBERTa-base, scaling 50 to 160"
    shortfall: ClassVar[str] = (
        "6 points of accuracy on rotten_tomatoes with SmolLM2-135M and 1,000 sentences: the head, trained at the "
        "same rate, bears no more than 0.02 there (loss 2 in a first epoch at 0.06), at which the coefficients "
        "learn slowly; 1 to 2 with all-MiniLM-L6-v2"
    )
    config: ClassVar[str] = "FourierFTConfig"
    per_layer: ClassVar[str] = "n_frequency"
    starting_rate: ClassVar[float] = 3e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4,)
    mergeable: ClassVar[bool] = True

    method: Literal["fourierft"] = "fourierft"
    n_frequency: int = Field(default=1000, gt=0, le=MOST, description="coefficients a layer")
    scaling: float = Field(default=150.0, gt=0, description="the update is scaled by it")
    random_loc_seed: int = Field(default=777, ge=0, lt=2**63, description="seed of which frequencies they are of")
