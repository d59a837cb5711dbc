"""Batches padded to their longest sequence, cut from pools sorted by length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.training.engine import Engine, Step
from tuneoff.training.optimiser import adamw
from tuneoff.training.order import by_length

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.data.tokens import Tokens
    from tuneoff.spec import TrainingSpec

EVALUATION_TOKENS = {"cpu": 2048, "cuda": 32768}


class PaddedEngine(Engine):
    """Works with every architecture of transformers.

    Args:
        model: the adapted model, on `device`.
        training: the study's training settings.
        device: where it computes.
        precision: the type of autocast, or float32 for none.
        pad_token_id: fills sequences up.
    """

    name = "padded"
    bucketed = True

    def __init__(
        self, model: nn.Module, training: TrainingSpec, device: torch.device, precision: torch.dtype, pad_token_id: int
    ) -> None:
        self._model = model
        self._device = device
        self._precision = precision
        self._pad_token_id = pad_token_id
        self._max_grad_norm = training.max_grad_norm
        self._optimiser = adamw(model, training)
        self._trainable = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
        self._loss_sum = torch.zeros((), device=device)
        self._loss_examples = 0

    def steps(self, tokens: Tokens, schedule: Sequence[Step]) -> Iterator[None]:
        self._model.train()
        for rows, learning_rate in schedule:
            for group in self._optimiser.param_groups:
                group["lr"] = learning_rate
            labels = torch.from_numpy(tokens.labels[rows]).to(self._device)
            loss = torch.nn.functional.cross_entropy(self._forward(tokens, rows), labels)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._trainable, self._max_grad_norm)
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=True)
            self._loss_sum += loss.detach() * len(rows)
            self._loss_examples += len(rows)
            yield

    def mean_loss(self) -> float:
        mean = float(self._loss_sum) / max(1, self._loss_examples)
        self._loss_sum.zero_()
        self._loss_examples = 0
        return mean

    @torch.no_grad()
    def logits(self, tokens: Tokens) -> NDArray[np.float32]:
        self._model.eval()
        batches = by_length(tokens.lengths, EVALUATION_TOKENS[self._device.type])
        parts = [self._forward(tokens, rows) for rows in batches]
        logits = np.empty((len(tokens), parts[0].shape[1]), dtype=np.float32)
        for rows, part in zip(batches, parts, strict=True):
            logits[rows] = part.cpu().numpy()
        return logits

    def _forward(self, tokens: Tokens, rows: NDArray[np.int64]) -> torch.Tensor:
        """Float32 logits of the given rows, shape (rows, classes)."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._precision == torch.bfloat16):
            output: Any = self._model(**self._collate(tokens, rows))
        logits: torch.Tensor = output.logits
        return logits.float()

    def _collate(self, tokens: Tokens, rows: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        lengths = tokens.lengths[rows]
        ids = np.full((len(rows), int(lengths.max())), self._pad_token_id, dtype=np.int64)
        mask = np.arange(ids.shape[1]) < lengths[:, None]
        ids[mask] = np.concatenate([tokens.ids[tokens.offsets[row] : tokens.offsets[row + 1]] for row in rows])
        batch = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        return {name: torch.from_numpy(array).to(self._device, non_blocking=True) for name, array in batch.items()}
