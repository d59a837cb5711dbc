"""The training loop: the same for every method and engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens
    from tuneoff.measure.clock import Stopwatch
    from tuneoff.spec import TrainingSpec
    from tuneoff.training.engine import Engine, Rows


def total_steps(examples: int, training: TrainingSpec) -> int:
    """Optimiser steps of a run; the last batch of an epoch may be smaller than `batch_size`."""
    return -(-examples // training.batch_size) * training.epochs


def train(
    engine: Engine,
    tokens: dict[str, Tokens],
    training: TrainingSpec,
    learning_rate: float,
    batches: Sequence[Sequence[Rows]],
    watch: Stopwatch,
    after_step: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Trains for the given epochs and evaluates on validation after each.

    Args:
        engine: holds the model and carries out the steps.
        tokens: the splits; `test` is not touched.
        training: the warm-up.
        learning_rate: the peak.
        batches: the rows of each step, epoch by epoch.
        watch: gains `train` (optimiser steps alone) and `eval` seconds.
        after_step: called with the number of steps done.

    Returns:
        The curve, one entry an epoch: `epoch`, `step`, `train_loss`, `validation_loss`, `validation_accuracy`,
        `train_seconds` so far.
    """
    from tuneoff.training.optimiser import learning_rates

    split = tokens["train"]
    rates = learning_rates(learning_rate, sum(map(len, batches)), training.warmup_ratio)
    curve = []
    done = 0
    for epoch, rows in enumerate(batches):
        with watch.timing("train"):
            for _ in engine.steps(split, list(zip(rows, rates[done : done + len(rows)], strict=True))):
                done += 1
                after_step(done)
        with watch.timing("eval"):
            logits = engine.logits(tokens["validation"])
        labels = tokens["validation"].labels
        curve.append(
            {
                "epoch": epoch + 1,
                "step": done,
                "train_loss": engine.mean_loss(),
                "validation_loss": cross_entropy(logits, labels),
                "validation_accuracy": accuracy(logits, labels),
                "train_seconds": watch.seconds["train"],
            }
        )
    return curve


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of examples whose largest logit is that of their label."""
    return float(np.mean(logits.argmax(axis=1) == labels))


def cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood, in nats."""
    from scipy.special import log_softmax

    return float(-np.mean(log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]))
