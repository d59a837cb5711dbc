"""LN-tuning: the gains and biases of normalisation layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tuneoff.methods.peft_method import PeftMethod
from tuneoff.models.layers import normalisation_modules

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class LNTuning(PeftMethod):
    title: ClassVar[str] = "LN-tuning"
    summary: ClassVar[str] = "trains the gains and biases of all normalisation layers, and the head"
    reference: ClassVar[str] = "Qi et al. 2022 (LN-tuning), Zhao et al. 2024; at 1e-4 it learns nothing here"
    config: ClassVar[str] = "LNTuningConfig"
    mergeable: ClassVar[bool] = True
    in_run_precision: ClassVar[bool] = True
    starting_rate: ClassVar[float] = 1e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)

    method: Literal["ln_tuning"] = "ln_tuning"

    @classmethod
    def formula(cls) -> str:
        return "all weights of normalisation layers"

    def layer_names(self, loaded: LoadedModel) -> list[str]:
        return normalisation_modules(loaded, self.target_modules)
