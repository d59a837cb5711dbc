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

        from tuneoff.models.architecture import layers_of
        from tuneoff.models.layers import linear_modules

        # Feed-forward layers are rescaled at their input: for the second one that is the paper's inner activation.
        if self.target_modules:
            targets = linear_modules(loaded, self.target_modules)
            known = loaded.architecture.layers
            feedforward = set(linear_modules(loaded, known.feedforward)) if known else set()
        else:
            layers = layers_of(loaded.architecture)
            targets = linear_modules(loaded, (*layers.key_value, layers.feedforward[-1]))
            feedforward = set(linear_modules(loaded, layers.feedforward))
        config = IA3Config(
            task_type=TaskType.SEQ_CLS,
            target_modules=targets,
            feedforward_modules=[name for name in targets if name in feedforward],
            modules_to_save=list(loaded.head_modules),
        )
        return get_peft_model(loaded.model, config)
