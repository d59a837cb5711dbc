"""rsLoRA: LoRA whose updates are scaled by the square root of their rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tuneoff.methods.lora import LowRank

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class RsLora(LowRank):
    title: ClassVar[str] = "rsLoRA"
    summary: ClassVar[str] = "LoRA with updates scaled by lora_alpha / sqrt(r), which suits high ranks"
    reference: ClassVar[str] = "Kalajdzievski 2023 (rsLoRA); learning rate as for LoRA, divided by sqrt(r)"
    starting_rate: ClassVar[float] = 5e-4
    in_run_precision: ClassVar[bool] = True

    method: Literal["rslora"] = "rslora"

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        return {**super().options(loaded, names), "use_rslora": True}
