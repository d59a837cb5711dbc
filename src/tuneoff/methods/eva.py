"""EVA: LoRA that starts at the directions in which the training texts' activations vary most, with ranks to suit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tuneoff.core.errors import UserError
from tuneoff.methods.lora import LowRank

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tuneoff.models.load import LoadedModel


class Eva(LowRank):
    title: ClassVar[str] = "EVA"
    summary: ClassVar[str] = "LoRA that starts at the directions in which the texts' activations vary most"
    reference: ClassVar[str] = "Paischer et al. 2024 (EVA); rho 1 to 2"
    shortfall: ClassVar[str] = (
        "15 points of accuracy on IMDb, where one seed of three learned nothing at the rate that was found; the "
        "other two reach 88.0%, 1.8 points behind; none to 1 on TREC-6 and rotten_tomatoes"
    )
    starting_rate: ClassVar[float] = 5e-4
    reads_texts: ClassVar[bool] = True
    in_run_precision: ClassVar[bool] = True

    method: Literal["eva"] = "eva"
    rho: float = Field(
        default=2.0, ge=1, le=1000, description="a layer's rank is at most rho * r, all layers' r a layer"
    )
    tau: float = Field(
        default=0.99, gt=0, lt=1, description="cosine between two batches' directions that ends the search"
    )
    whiten: bool = Field(default=False, description="scale the directions by their variance")

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        import peft

        eva_config = peft.EvaConfig(rho=self.rho, tau=self.tau, whiten=self.whiten)
        return {**super().options(loaded, names), "init_lora_weights": "eva", "eva_config": eva_config}

    def start(self, model: nn.Module, batches: Sequence[dict[str, torch.Tensor]]) -> None:
        import peft

        adapted: Any = model
        peft.initialize_lora_eva_weights(
            adapted,
            batches,
            prepare_model_inputs_fn=lambda inputs, _config: inputs["attention_mask"].bool(),
            prepare_layer_inputs_fn=_of_tokens,
            gather_distributed_inputs=False,
            show_progress_bar=False,
        )
        for config in adapted.peft_config.values():  # once it has started it is LoRA
            config.init_lora_weights, config.eva_config = True, None


def _of_tokens(inputs: tuple[torch.Tensor, ...], mask: torch.Tensor, layer: str) -> torch.Tensor:
    """What a layer is given for the tokens of texts, shape (tokens, width), without that for their padding.

    Raises:
        UserError: where it is not given a state for each token.
    """
    states = inputs[0]
    if states.shape[:-1] != mask.shape:
        raise UserError(
            f"eva reads states of tokens, and this model hands {layer} others, of shape {tuple(states.shape)}"
        )
    return states[mask]
