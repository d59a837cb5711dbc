"""A pretrained model that is read as it is: the mean of its last hidden states, and a linear head on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.models.load import LoadedModel


class MeanPooledClassifier(nn.Module):
    """Classifies by the mean of a text's last hidden states; the backbone is frozen, the head is to be fitted.

    Until `set_head`, its `logits` are the features themselves, shape (texts, hidden).

    Args:
        loaded: its fresh head modules are taken out.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.config: Any = loaded.model.config
        self.config.use_cache = False
        self.backbone: Any = loaded.model.base_model
        prefix = loaded.model.base_model_prefix + "."
        for name in loaded.head_modules:  # such as a pooler that the checkpoint lacks
            if name.startswith(prefix):
                self.backbone.set_submodule(name.removeprefix(prefix), nn.Identity())
        self.requires_grad_(False)
        device = next(self.backbone.parameters()).device
        self.own_head = nn.Linear(loaded.architecture.output_width, self.config.num_labels, device=device)
        self._fitted = False

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **inputs: Any) -> SequenceClassifierOutput:
        """Padded texts, shape (texts, tokens), to logits in float32, shape (texts, classes)."""
        reader = self.backbone.get_encoder() if self.config.is_encoder_decoder else self.backbone
        states = reader(input_ids=input_ids, attention_mask=attention_mask, **inputs).last_hidden_state.float()
        mask = attention_mask[:, : states.shape[1], None].float()  # Funnel has fewer states than tokens
        features = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return SequenceClassifierOutput(logits=self.own_head(features) if self._fitted else features)

    @torch.no_grad()
    def set_head(self, weights: NDArray[np.float64], biases: NDArray[np.float64]) -> None:
        """Gives the head its coefficients, shapes (classes, hidden) and (classes,); they stay in float32."""
        for parameter, values in ((self.own_head.weight, weights), (self.own_head.bias, biases)):
            parameter.data = torch.from_numpy(values).to(parameter.device, torch.float32)
        self._fitted = True
