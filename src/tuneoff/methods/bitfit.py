"""BitFit: biases alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tuneoff.core.errors import UserError
from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class BitFit(ArmSpec):
    title: ClassVar[str] = "BitFit"
    summary: ClassVar[str] = "trains all biases of the backbone, and the head"
    reference: ClassVar[str] = "Ben Zaken et al. 2022 (BitFit), section 4: 1e-4 to 1e-3 for BERT"
    starting_rate: ClassVar[float] = 1.5e-3
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    method: Literal["bitfit"] = "bitfit"

    @classmethod
    def formula(cls) -> str:
        return "all biases"

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        """A peft model that adapts no layer, trains biases and saves them beside the head."""
        from peft import LoraConfig, TaskType, get_peft_model
        from peft.utils.constants import DUMMY_TARGET_MODULES

        if not any("bias" in name for name, _ in loaded.model.base_model.named_parameters()):
            raise UserError("bitfit trains biases, and this model has none")
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            target_modules=DUMMY_TARGET_MODULES,
            bias="all",
            modules_to_save=list(loaded.head_modules),
        )
        return get_peft_model(loaded.model, config)
