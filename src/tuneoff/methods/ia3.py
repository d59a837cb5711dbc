"""IA3: learned vectors that rescale keys, values and feed-forward activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tuneoff.methods.peft_method import PeftMethod
from tuneoff.models.architecture import layers_of
from tuneoff.models.layers import linear_modules

if TYPE_CHECKING:
    from tuneoff.models.load import LoadedModel


class IA3(PeftMethod):
    title: ClassVar[str] = "IA3"
    summary: ClassVar[str] = "trains vectors that rescale inner activations, and the head"
    reference: ClassVar[str] = "Liu et al. 2022 (T-Few), section 3.3: learning rate 3e-3, keys, values, feed-forward"
    config: ClassVar[str] = "IA3Config"
    per_layer: ClassVar[str] = "inputs if feedforward else outputs"
    mergeable: ClassVar[bool] = True
    in_run_precision: ClassVar[bool] = True
    starting_rate: ClassVar[float] = 1e-2
    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)

    method: Literal["ia3"] = "ia3"

    def layer_names(self, loaded: LoadedModel) -> list[str]:
        if self.target_modules:
            return linear_modules(loaded, self.target_modules)
        layers = layers_of(loaded.architecture)
        return linear_modules(loaded, (*layers.key_value, *layers.feedforward[-1:]))

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        # Feed-forward layers are rescaled at their input: for the second one that is the paper's inner activation.
        known = loaded.architecture.layers
        feedforward = set(linear_modules(loaded, known.feedforward)) if known else set()
        return {"feedforward_modules": [name for name in names if name in feedforward]}
