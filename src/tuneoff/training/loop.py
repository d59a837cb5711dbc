"""The training loop: the same for every method and engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens
    from tuneoff.measure.clock import Stopwatch
    from tuneoff.measure.memory import PeakSoFar
    from tuneoff.spec import TrainingSpec
    from tuneoff.training.checkpoint import Checkpoints
    from tuneoff.training.engine import Engine, Rows


def total_steps(examples: int, training: TrainingSpec) -> int:
    """Optimiser steps of a run; the last batch of an epoch may be smaller than `batch_size`."""
    return -(-examples // training.batch_size) * training.epochs


class TrainingStopped(Exception):  # noqa: N818 - it is no error
    """Training was asked to stop and has; its state is in the checkpoint."""


class Training:
    """A run's training: for each epoch the steps, then an evaluation on validation.

    Args:
        engine: prepared; holds the model and carries out the steps.
        tokens: the splits; `test` is not touched.
        batches: the rows of each step, epoch by epoch.
        rates: the learning rate of each step.
        watch: gains `train` (optimiser steps alone), `eval` and `checkpoint` seconds.
        peak: of memory; goes into checkpoints, as the seconds do.
        checkpoints: where to go on from, and when to write.
    """

    def __init__(
        self,
        engine: Engine,
        tokens: dict[str, Tokens],
        batches: Sequence[Sequence[Rows]],
        rates: Sequence[float],
        watch: Stopwatch,
        peak: PeakSoFar,
        checkpoints: Checkpoints,
    ) -> None:
        self._engine = engine
        self._tokens = tokens
        self._batches = batches
        self._rates = rates
        self._watch = watch
        self._peak = peak
        self._checkpoints = checkpoints
        self.done = 0
        self.curve: list[dict[str, Any]] = []

    def resume(self, saved: dict[str, Any]) -> None:
        """Takes over what an earlier process of this run had reached."""
        self._engine.restore(saved.pop("engine"))  # nobody else needs it, and it may be large
        self.done, self.curve = saved["done"], saved["curve"]

    def run(self, after_step: Callable[[int], None], stopping: Callable[[], bool]) -> list[dict[str, Any]]:
        """Trains to the end.

        Args:
            after_step: called with the number of steps done.
            stopping: asked after each step whether to stop there.

        Returns:
            The curve, one entry an epoch: `epoch`, `step`, `train_loss`, `validation_loss`, `validation_accuracy`,
            `train_seconds` so far.

        Raises:
            TrainingStopped: once a checkpoint is written, where `stopping` says so.
        """
        end = 0
        for epoch, batches in enumerate(self._batches):
            start, end = end, end + len(batches)
            if epoch < len(self.curve):
                continue
            with self._watch.timing("train"):
                schedule = list(zip(batches, self._rates[start:end], strict=True))[self.done - start :]
                for _ in self._engine.steps(self._tokens["train"], schedule):
                    self.done += 1
                    after_step(self.done)
                    self._checkpoint_where_due(stopping())
            self.curve.append(self._evaluate(epoch))
            self._checkpoint_where_due(stopping(), end_of_epoch=True)
        return self.curve

    def _evaluate(self, epoch: int) -> dict[str, Any]:
        validation = self._tokens["validation"]
        with self._watch.timing("eval"):
            logits = self._engine.logits(validation)
        return {
            "epoch": epoch + 1,
            "step": self.done,
            "train_loss": self._engine.mean_loss(),
            "validation_loss": cross_entropy(logits, validation.labels),
            "validation_accuracy": accuracy(logits, validation.labels),
            "train_seconds": self._watch.seconds["train"],
        }

    def _checkpoint_where_due(self, stopping: bool, end_of_epoch: bool = False) -> None:
        due = self._checkpoints.due(self.done, end_of_epoch)
        stopping, due = self._engine.ranks.first_says([stopping, due])
        if stopping or due:
            with self._watch.timing("checkpoint"):
                progress = {"done": self.done, "curve": self.curve}
                spent = {"seconds": self._watch.so_far(), "peak_memory_bytes": self._peak.so_far()}
                self._checkpoints.save(self._engine, progress | spent)
        if stopping:
            raise TrainingStopped


def accuracy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of examples whose largest logit is that of their label."""
    return float(np.mean(logits.argmax(axis=1) == labels))


def cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood, in nats."""
    from scipy.special import log_softmax

    return float(-np.mean(log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]))
