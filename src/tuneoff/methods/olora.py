"""OLoRA: LoRA that begins at an orthonormal basis of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tuneoff.core.errors import UserError
from tuneoff.methods.lora import StartedLowRank

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class Olora(StartedLowRank):
    title: ClassVar[str] = "OLoRA"
    summary: ClassVar[str] = "LoRA that starts from a QR decomposition of the weights"
    reference: ClassVar[str] = "Buyukakyuz 2024 (OLoRA); learning rate as for LoRA, or below"
    starting_rate: ClassVar[float] = 5e-4

    begins_as: ClassVar[str] = "olora"

    method: Literal["olora"] = "olora"

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        from transformers.pytorch_utils import Conv1D

        if any(isinstance(loaded.model.get_submodule(name), Conv1D) for name in names):  # as GPT-2's layers are
            raise UserError(
                f"{self.method} cannot be built into this model: peft decomposes a Conv1D the wrong way round"
            )
        return super().options(loaded, names)
