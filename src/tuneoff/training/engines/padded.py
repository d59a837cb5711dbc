"""Batches padded to their longest sequence, for architectures with an attention of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.models.architecture import Padding, Pooling
from tuneoff.training.engines.base import Engine, Rows
from tuneoff.training.order import by_length

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens


class PaddedEngine(Engine):
    """Works with every architecture of transformers; batches come from pools sorted by length.

    Attention is the architecture's own, with its own dropout of attention weights.
    """

    name = "padded"
    bucketed = True
    own_randomness = False

    def _accumulate(self, tokens: Tokens, rows: Rows, batch_size: float) -> None:
        self.dropout_seed += 1
        labels = torch.from_numpy(tokens.labels[rows]).to(self.device)
        loss = torch.nn.functional.cross_entropy(self._logits(tokens, rows).float(), labels, reduction="sum")
        (loss / batch_size).backward()
        self._loss_sum += loss.detach()

    def _logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        groups = self._computed_together(tokens, rows)
        logits = torch.cat([self._padded_logits(tokens, rows[group]) for group in groups])
        if len(groups) == 1:
            return logits
        return logits[torch.from_numpy(np.argsort(np.concatenate(groups))).to(self.device)]

    def _padded_logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        lengths = tokens.lengths[rows]
        width = max(int(lengths.max()), self.architecture.shortest_input)
        ids = np.full((len(rows), width), self.architecture.pad_token_id, dtype=np.int64)
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        ids[mask] = np.concatenate([tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]] for row in rows])
        arrays: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
        if tokens.second_starts is not None and self.architecture.type_vocab_size > 1:
            types = mask * (np.arange(ids.shape[1]) >= tokens.second_starts[rows][:, None])
            arrays["token_type_ids"] = np.where(np.arange(ids.shape[1]) > 0, types, self.architecture.first_token_type)
        inputs = {name: torch.from_numpy(array.astype(np.int64)).to(self.device) for name, array in arrays.items()}
        logits: torch.Tensor = self.model(**inputs).logits
        return logits

    def _computed_together(self, tokens: Tokens, rows: Rows) -> list[NDArray[np.int64]]:
        """Places in `rows`, in groups that give what each text gives alone."""
        padding = self.architecture.padding
        if self.arm.gives_embeddings and self.architecture.pooling is not Pooling.FIRST:
            padding = Padding.EQUAL_LENGTHS  # without tokens, models take a row's last place for a text's end
        if padding is Padding.RIGHT:
            return [np.arange(len(rows))]
        if padding is Padding.EQUAL_LENGTHS:
            alike = tokens.lengths[rows]
        else:
            end = self.architecture.config.eos_token_id
            alike = np.array([np.sum(tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]] == end) for row in rows])
        return [np.flatnonzero(alike == value) for value in np.unique(alike)]

    def _evaluation_batches(self, tokens: Tokens, budget: int) -> list[Rows]:
        return by_length(tokens.lengths, budget)
