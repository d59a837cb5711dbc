"""P-tuning: virtual tokens in each text, whose embeddings a small network makes, which is trained with what it reads.

Once it is trained the embeddings alone are saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST
from tuneoff.methods.prompt_tuning import PromptMethod

if TYPE_CHECKING:
    from torch import nn


class PTuning(PromptMethod):
    title: ClassVar[str] = "P-tuning"
    summary: ClassVar[str] = "trains a network that makes the embeddings of virtual tokens in each text, and the head"
    reference: ClassVar[str] = "Liu et al. 2021 (P-tuning), with peft's network of three layers"
    shortfall: ClassVar[str] = (
        "10 to 12 points of accuracy: its training loss was still 0.54 of 0.69 nats on rotten_tomatoes after "
        "three epochs, and falling; 15 with SmolLM2-135M, where two seeds of three were at 0.63 and 0.67, at the "
        "rate that was best for the third"
    )
    starting_rate: ClassVar[float] = 1e-2

    method: Literal["p_tuning"] = "p_tuning"
    encoder_hidden_size: int | None = Field(
        default=None, gt=0, le=MOST, description="width of the network's hidden layers; the embeddings' if left out"
    )

    @classmethod
    def formula(cls) -> str:
        return (
            "num_virtual_tokens * width + encoder_hidden_size * (2 * width + encoder_hidden_size + 2) + width, "
            "of which num_virtual_tokens * width are saved"
        )

    def encoder(self, width: int) -> nn.Module:
        from torch import nn

        hidden = self.encoder_hidden_size or width
        return nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, width)
        )
