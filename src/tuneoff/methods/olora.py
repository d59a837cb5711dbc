"""OLoRA: LoRA that begins at an orthonormal basis of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tuneoff.methods.lora import StartedLowRank

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class Olora(StartedLowRank):
    title: ClassVar[str] = "OLoRA"
    summary: ClassVar[str] = "LoRA that starts from a QR decomposition of the weights"
    reference: ClassVar[str] = "Buyukakyuz 2024 (OLoRA); learning rate as for LoRA, or below"
    starting_rate: ClassVar[float] = 5e-4

    method: Literal["olora"] = "olora"

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        return {**super().options(loaded, names), "init_lora_weights": "olora"}
