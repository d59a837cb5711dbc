"""PVeRA: VeRA with a normal distribution inside, of which it trains mean and variance."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Pvera(LayerMethod):
    title: ClassVar[str] = "PVeRA"
    summary: ClassVar[str] = "VeRA that draws what is inside from a distribution that it trains"
    reference: ClassVar[str] = "Fillioux et al. 2025 (PVeRA); learning rate as for VeRA"
    shortfall: ClassVar[str] = (
        "5 points of accuracy on rotten_tomatoes, 7 on IMDb, 3 on TREC-6; 5 with SmolLM2-135M: its training loss "
        "was still 0.55 of 0.69 nats on the first after three epochs (0.47 with SmolLM2-135M), and falling"
    )
    config: ClassVar[str] = "PveraConfig"
    per_layer: ClassVar[str] = "2 * r + outputs"
    starting_rate: ClassVar[float] = 2e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    method: Literal["pvera"] = "pvera"
    r: int = Field(default=256, gt=0, le=MOST, description="rank of the shared projections")
    pvera_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")
    d_initial: float = Field(default=0.1, gt=0, description="first value of the vector inside")
    projection_prng_key: int = Field(default=0, ge=0, lt=2**63, description="seed of the projections")
