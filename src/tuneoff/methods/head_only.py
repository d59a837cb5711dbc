"""Linear probing: the backbone is frozen and only the new head is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class HeadOnly(ArmSpec):
    title: ClassVar[str] = "a new head"
    summary: ClassVar[str] = "freezes the backbone and trains the new head alone"
    reference: ClassVar[str] = "Kumar et al. 2022 (linear probing against fine-tuning): rates 1e-3 and above"
    shortfall: ClassVar[str] = (
        "6 (SmolLM2-135M) to 32 points of accuracy: nothing but the head learns the task, from what pretraining "
        "left in the token that it reads"
    )
    starting_rate: ClassVar[float] = 1e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)

    method: Literal["head_only"] = "head_only"

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        """A peft model that adapts no layer and saves the head's modules, so that it loads as an adapter does."""
        from peft import LoraConfig, TaskType, get_peft_model
        from peft.utils.constants import DUMMY_TARGET_MODULES

        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            target_modules=DUMMY_TARGET_MODULES,
            modules_to_save=list(loaded.head_modules),
        )
        return get_peft_model(loaded.model, config)
