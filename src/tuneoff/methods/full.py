"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class Full(ArmSpec):
    title: ClassVar[str] = "full fine-tuning"
    summary: ClassVar[str] = "trains every weight of the backbone and the head"
    reference: ClassVar[str] = "Devlin et al. 2019 (BERT), appendix A.3: learning rates 2e-5 to 5e-5"
    starting_rate: ClassVar[float] = 3e-5

    method: Literal["full"] = "full"

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        return loaded.model.requires_grad_(True)
