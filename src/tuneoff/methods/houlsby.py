"""Bottleneck adapters as Houlsby et al. place them: small networks behind attention and feed-forward part of blocks.

They add to what these give, before it joins the residual stream. Normalisation layers are left as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.core.errors import UserError
from tuneoff.methods.peft_method import MOST
from tuneoff.models.architecture import Layers, layers_of
from tuneoff.models.layers import linear_modules
from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class BottleneckMethod(ArmSpec):
    """A method that puts bottlenecks behind linear layers; a subclass says which."""

    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    starting_rate: ClassVar[float] = 5e-4

    bottleneck_size: int = Field(default=48, gt=0, le=MOST, description="width of the narrow layers")
    target_modules: tuple[str, ...] = Field(
        default=(), description="layers with one behind them, by the ends of their names; those of its paper when empty"
    )

    @classmethod
    def formula(cls) -> str:
        return "layers * (bottleneck_size * (2 * outputs + 1) + outputs)"

    def behind(self, layers: Layers) -> tuple[str, ...]:
        """The ends of the names of the layers with a bottleneck behind them."""
        raise NotImplementedError

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        from tuneoff.models.bottleneck import MARK, put_bottlenecks

        names = self.target_modules or self.behind(layers_of(loaded.architecture))
        if not names:
            raise UserError("the feed-forward part of this model has no linear layers; give the arm's target_modules")
        put_bottlenecks(loaded.model, linear_modules(loaded, names), self.bottleneck_size)
        for name, parameter in loaded.model.named_parameters():
            in_head = any(name.startswith(head + ".") for head in loaded.head_modules)
            parameter.requires_grad_(in_head or MARK in name)
        return loaded.model


class Houlsby(BottleneckMethod):
    title: ClassVar[str] = "Houlsby adapters"
    summary: ClassVar[str] = "trains small networks behind attention and feed-forward part, and the head"
    reference: ClassVar[str] = "Houlsby et al. 2019 (adapters): 3e-5 to 3e-3, sizes 8 to 256"
    shortfall: ClassVar[str] = (
        "10 points of accuracy on rotten_tomatoes, where one seed of three collapsed at the rate that was "
        "found; the other two reach 80.5%, half a point behind; none on TREC-6, 1 on IMDb"
    )

    method: Literal["houlsby"] = "houlsby"

    def behind(self, layers: Layers) -> tuple[str, ...]:
        return tuple(name for name in (layers.output, *layers.feedforward[-1:]) if name is not None)
