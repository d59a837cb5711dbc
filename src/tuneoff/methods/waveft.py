"""WaveFT: updates with few wavelets."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tuneoff.core.names import made_of
from tuneoff.methods.peft_method import MOST, LayerMethod


class WaveFT(LayerMethod):
    title: ClassVar[str] = "WaveFT"
    summary: ClassVar[str] = "trains a few wavelet coefficients of each weight's update, and the head"
    reference: ClassVar[str] = "Bilican et al. 2025 (WaveFT); options as in peft"
    config: ClassVar[str] = "WaveFTConfig"
    per_layer: ClassVar[str] = "n_frequency"
    starting_rate: ClassVar[float] = 2e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4,)
    mergeable: ClassVar[bool] = True

    method: Literal["waveft"] = "waveft"
    n_frequency: int = Field(default=2592, gt=0, le=MOST, description="coefficients a layer")
    scaling: float = Field(default=25.0, gt=0, description="the update is scaled by it")
    wavelet_family: Annotated[
        str, made_of(r"db[1-9]|sym[2-9]|db10|sym10|coif[1-5]", "db1 to db10, sym2 to sym10, or coif1 to coif5")
    ] = Field(default="db1", description="wavelets: db1 to db10 (Daubechies), sym2 to sym10, coif1 to coif5")
    random_loc_seed: int = Field(default=777, ge=0, lt=2**63, description="seed of which wavelets they are of")
