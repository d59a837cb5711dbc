"""Batches padded to their longest sequence, for architectures with an attention of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.training.engines.base import Engine, Rows
from tuneoff.training.order import by_length

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec
    from tuneoff.training.parallel.devices import SingleDevice


class PaddedEngine(Engine):
    """Works with every architecture of transformers; batches come from pools sorted by length.

    Attention is the architecture's own, with its own dropout of attention weights.
    """

    name = "padded"
    bucketed = True

    def __init__(
        self,
        model: nn.Module,
        loaded: LoadedModel,
        training: TrainingSpec,
        device: torch.device,
        micro_batch: int,
        parallel: SingleDevice | None = None,
    ) -> None:
        super().__init__(model, loaded, training, device, micro_batch, parallel)
        self._pad_token_id = int(loaded.model.config.pad_token_id)
        self._knows_types = getattr(loaded.model.config, "type_vocab_size", 0) > 1

    def _accumulate(self, tokens: Tokens, rows: Rows, batch_size: float) -> None:
        self.dropout_seed += 1
        labels = torch.from_numpy(tokens.labels[rows]).to(self.device)
        loss = torch.nn.functional.cross_entropy(self._logits(tokens, rows).float(), labels, reduction="sum")
        (loss / batch_size).backward()
        self._loss_sum += loss.detach()

    def _logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        lengths = tokens.lengths[rows]
        ids = np.full((len(rows), int(lengths.max())), self._pad_token_id, dtype=np.int64)
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        ids[mask] = np.concatenate([tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]] for row in rows])
        arrays: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
        if tokens.seconds is not None and self._knows_types:
            arrays["token_type_ids"] = mask * (np.arange(ids.shape[1]) >= tokens.seconds[rows][:, None])
        inputs = {name: torch.from_numpy(array.astype(np.int64)).to(self.device) for name, array in arrays.items()}
        logits: torch.Tensor = self.classifier(**inputs).logits
        return logits

    def _evaluation_batches(self, tokens: Tokens, budget: int) -> list[Rows]:
        return by_length(tokens.lengths, budget)
