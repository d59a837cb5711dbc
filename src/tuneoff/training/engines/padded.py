"""Batches padded to their longest sequence, for architectures with an attention of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.data.tokens import Tokens
from tuneoff.models.architecture import Padding
from tuneoff.training.engines.base import Engine, Rows
from tuneoff.training.engines.pooling import of_texts
from tuneoff.training.order import by_length

if TYPE_CHECKING:
    from tuneoff.models.architecture import Architecture


def padded_inputs(tokens: Tokens, rows: Rows, architecture: Architecture) -> dict[str, torch.Tensor]:
    """What a model takes, by name, of some texts: int64, shape (rows, tokens of the longest)."""
    lengths = tokens.lengths[rows]
    width = max(int(lengths.max()), architecture.shortest_input)
    ids = np.full((len(rows), width), architecture.pad_token_id, dtype=np.int64)
    mask = np.arange(width) < lengths[:, None]
    ids[mask] = tokens.ids_of(rows)
    arrays: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
    if tokens.second_starts is not None and architecture.type_vocab_size > 1:
        types = mask * (np.arange(width) >= tokens.second_starts[rows][:, None])
        arrays["token_type_ids"] = np.where(np.arange(width) > 0, types, architecture.first_token_type)
    return {name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()}


class PaddedEngine(Engine):
    """Works with every architecture of transformers; batches come from pools sorted by length.

    Attention is the architecture's own, with its own dropout of attention weights.
    """

    name = "padded"
    bucketed = True
    own_randomness = False

    def _accumulate(self, tokens: Tokens, rows: Rows, total_weight: float) -> None:
        self.dropout_seed += 1
        labels = torch.from_numpy(tokens.labels[rows]).to(self.device)
        losses, reported = self.loss.losses(self._logits(tokens, rows).float(), labels, self._loss_table)
        loss = losses.sum() / total_weight
        self._forward_ended()
        loss.backward()
        self._loss_sum += reported.sum()

    def empty_step(self, tokens: int, sequences: int, longest: int) -> None:
        lengths = np.full(sequences, longest)
        lengths[1:] = max(1, (tokens - longest) // max(1, sequences - 1))  # where there is padding, it is masked
        ends = np.cumsum(lengths)
        empty = Tokens(np.zeros(ends[-1], np.int32), np.append(0, ends), np.zeros(sequences, np.int64))
        self._accumulate(empty, np.arange(sequences), float(sequences))
        self.optimiser.step()

    def _logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        apart, sequences = tokens.by_sequence, tokens.sequences_of(rows)
        groups = self._computed_together(apart, sequences)
        logits = torch.cat([self._padded_logits(apart, sequences[group]) for group in groups])
        if len(groups) > 1:
            logits = logits[torch.from_numpy(np.argsort(np.concatenate(groups))).to(self.device)]
        if tokens.windows is None:
            return logits
        owners = np.repeat(np.arange(len(rows)), tokens.sequences[rows])
        return of_texts(logits, torch.from_numpy(owners).to(self.device), len(rows), tokens.over_windows)

    def _padded_logits(self, tokens: Tokens, rows: Rows) -> torch.Tensor:
        inputs = padded_inputs(tokens, rows, self.architecture)
        logits: torch.Tensor = self.model(**{name: each.to(self.device) for name, each in inputs.items()}).logits
        return logits

    def _computed_together(self, tokens: Tokens, rows: Rows) -> list[NDArray[np.int64]]:
        """Places in `rows`, in groups that give what each text gives alone."""
        padding = self.architecture.padding
        if padding is Padding.RIGHT:
            return [np.arange(len(rows))]
        if padding is Padding.EQUAL_LENGTHS:
            alike = tokens.lengths[rows]
        else:
            end = self.architecture.config.eos_token_id
            alike = np.array([np.sum(tokens.ids_of(rows[[place]]) == end) for place in range(len(rows))])
        return [np.flatnonzero(alike == value) for value in np.unique(alike)]

    def _evaluation_batches(self, tokens: Tokens, budget: int) -> list[Rows]:
        return by_length(tokens.lengths, budget)
