"""IA3: learned vectors that rescale keys, values and feed-forward activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class IA3(ArmSpec):
    summary: ClassVar[str] = "trains vectors that rescale inner activations, and the head"
    mergeable: ClassVar[bool] = True
    reference: ClassVar[str] = "Liu et al. 2022 (T-Few), section 3.3: learning rate 3e-3, keys, values, feed-forward"
    starting_rate: ClassVar[float] = 1e-2

    method: Literal["ia3"] = "ia3"
    target_modules: tuple[str, ...] = Field(
        default=(), description="linear layers by name; keys, values and the second feed-forward layer when empty"
    )

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        from peft import IA3Config, TaskType, get_peft_model

        from tuneoff.models.families import family_of, linear_modules

        family = family_of(loaded.model)
        targets = linear_modules(loaded, self.target_modules or (*family.key_value, family.feedforward[-1]))
        # Feed-forward layers are rescaled at their input: for the second one that is the paper's inner activation.
        feedforward = set(linear_modules(loaded, family.feedforward))
        config = IA3Config(
            task_type=TaskType.SEQ_CLS,
            target_modules=targets,
            feedforward_modules=[name for name in targets if name in feedforward],
            modules_to_save=list(loaded.head_modules),
        )
        return get_peft_model(loaded.model, config)
