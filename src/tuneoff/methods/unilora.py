"""Uni-LoRA: one short vector, spread over all low-rank updates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST, LayerMethod

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class UniLora(LayerMethod):
    title: ClassVar[str] = "Uni-LoRA"
    summary: ClassVar[str] = "trains one vector that is spread over all layers' low-rank updates"
    reference: ClassVar[str] = "Li et al. 2025 (Uni-LoRA); options as in peft but a longer vector"
    shortfall: ClassVar[str] = (
        "5 points of accuracy on rotten_tomatoes with SmolLM2-135M and 1,000 sentences: one vector for all layers "
        "learns slowly (training loss 0.37 to 0.45 after three epochs, where full has 0.05); 1 to 3 with all- "
        "MiniLM-L6-v2"
    )
    config: ClassVar[str] = "UniLoraConfig"
    once: ClassVar[str] = "theta_d_length"
    starting_rate: ClassVar[float] = 1.5e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["unilora"] = "unilora"
    r: int = Field(default=4, gt=0, le=MOST, description="rank of the updates")
    theta_d_length: int = Field(default=2048, gt=0, le=MOST, description="length of the vector")
    proj_seed: int = Field(default=42, ge=0, lt=2**63, description="seed of how it is spread")
    unilora_dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before the update")

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        return {**super().options(loaded, names), "save_indices": True}  # rather than to draw them again
