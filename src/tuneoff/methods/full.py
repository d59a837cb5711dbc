"""Full fine-tuning: every weight is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.base import Method

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


class Full(Method):
    summary: ClassVar[str] = "trains every weight of the backbone and the head"
    reference: ClassVar[str] = "Devlin et al. 2019 (BERT), appendix A.3: learning rates 2e-5 to 5e-5"

    # Liu et al. 2019 (RoBERTa), table 10: 1e-5 to 3e-5 for the large model; Touvron et al. 2023 (Llama 2), section 3.1:
    # 2e-5 in supervised fine-tuning.
    rates: ClassVar[Mapping[str, float]] = {"large encoder": 1e-5, "decoder": 2e-5}

    method: Literal["full"] = "full"
    learning_rate: float = Field(default=3e-5, gt=0)

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        return loaded.model.requires_grad_(True)
