"""Partial fine-tuning: the last blocks of the backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.core.errors import UserError
from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class LastLayers(ArmSpec):
    title: ClassVar[str] = "the last layers"
    summary: ClassVar[str] = "trains every weight of the last blocks, and the head"
    reference: ClassVar[str] = (
        "Lee et al. 2019 (What would Elsa do?): a fourth of the layers; learning rate as for full"
    )
    starting_rate: ClassVar[float] = 1e-4

    method: Literal["last_layers"] = "last_layers"
    layers: int = Field(default=2, gt=0, description="how many of the last blocks are trained")

    @classmethod
    def formula(cls) -> str:
        return "all weights of the last blocks"

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        blocks = loaded.architecture.blocks_of(loaded.model)
        if self.layers >= len(blocks):
            raise UserError(f"layers = {self.layers}, and the model has {len(blocks)}; take fewer, or the method full")
        loaded.model.requires_grad_(False)
        heads = [loaded.model.get_submodule(name) for name in loaded.head_modules]
        for module in (*blocks[-self.layers :], *heads):
            module.requires_grad_(True)
        return loaded.model
