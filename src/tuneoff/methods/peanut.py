"""PEANuT: updates that a small network makes of the weights."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod


class Peanut(LayerMethod):
    title: ClassVar[str] = "PEANuT"
    summary: ClassVar[str] = "trains a small network that makes each weight's update from the weight"
    reference: ClassVar[str] = "Zhong et al. 2024 (PEANuT, NEAT); options as in peft"
    config: ClassVar[str] = "PeanutConfig"
    per_layer: ClassVar[str] = "2 * r * outputs"
    shortfall: ClassVar[str] = (
        "15 points of accuracy on IMDb, where one seed of three learned nothing at the rate that was found; the "
        "other two reach 87.8%, 2 points behind; none to 1 on TREC-6 and rotten_tomatoes"
    )
    starting_rate: ClassVar[float] = 1e-3
    mergeable: ClassVar[bool] = True

    method: Literal["peanut"] = "peanut"
    r: int = Field(default=32, gt=0, le=MOST, description="width of the network")
    act_fn: str = Field(default="relu", description="its activation")
    scaling: float = Field(default=1.0, gt=0, description="the update is scaled by it")
