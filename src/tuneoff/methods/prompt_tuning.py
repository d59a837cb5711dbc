"""Prompt tuning: virtual tokens in each text, whose embeddings are trained.

They stand behind the token that a text starts with, where its tokenizer has one, so that the head reads the token that
it was made for; each text is that much longer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.methods.peft_method import MOST
from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tuneoff.models.load import LoadedModel


class PromptMethod(ArmSpec):
    """A method that trains the embeddings of virtual tokens."""

    backbone_bits: ClassVar[tuple[int, ...]] = (4, 8)
    mergeable: ClassVar[bool] = True

    num_virtual_tokens: int = Field(default=20, gt=0, le=MOST, description="virtual tokens in each text")

    @property
    def virtual_tokens(self) -> int:
        return self.num_virtual_tokens

    def encoder(self, width: int) -> nn.Module | None:
        """What makes embeddings, shape (virtual tokens, width), from trained rows of that shape; None if nothing."""
        del width
        return None

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        import peft
        from peft.utils.constants import DUMMY_TARGET_MODULES

        from tuneoff.models.virtual_embedding import longer_table, look_up_rows

        encoder = self.encoder(loaded.model.get_input_embeddings().embedding_dim)
        with longer_table(loaded.model, self.num_virtual_tokens) as rows:
            config = peft.LoraConfig(
                task_type=peft.TaskType.SEQ_CLS,
                target_modules=DUMMY_TARGET_MODULES,
                trainable_token_indices=rows,
                modules_to_save=list(loaded.head_modules),
            )
            model = peft.get_peft_model(loaded.model, config)
        look_up_rows(model, encoder)
        return model

    def dtypes(self, model: nn.Module, precision: torch.dtype) -> dict[str, torch.dtype]:
        import torch

        trained = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
        return {name: torch.float32 for name in trained if ".token_adapter." in name}


class PromptTuning(PromptMethod):
    title: ClassVar[str] = "prompt tuning"
    summary: ClassVar[str] = "trains the embeddings of virtual tokens in each text, and the head"
    reference: ClassVar[str] = "Lester et al. 2021 (prompt tuning): 0.3, with Adafactor and T5"
    shortfall: ClassVar[str] = (
        "8 points of accuracy on rotten_tomatoes, 10 on IMDb, 3 on TREC-6: its training loss was still 0.54 of "
        "0.69 nats on the first after three epochs, and falling"
    )
    starting_rate: ClassVar[float] = 2e-2

    method: Literal["prompt_tuning"] = "prompt_tuning"

    @classmethod
    def formula(cls) -> str:
        return "num_virtual_tokens * width"
