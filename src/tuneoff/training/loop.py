"""The training loop: the same for every method and engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.measure.energy import together
from tuneoff.records.measurements import CurvePoint
from tuneoff.tasks.decide import decided
from tuneoff.training.selection import KeptWeights, Weights, is_over, selected
from tuneoff.training.signs import SEGMENTS, Trace, has_diverged

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens
    from tuneoff.measure.clock import Stopwatch
    from tuneoff.measure.memory import PeakSoFar
    from tuneoff.spec import TrainingSpec
    from tuneoff.tasks.base import Codes, Task
    from tuneoff.tasks.losses import Loss
    from tuneoff.tasks.objectives.base import Objective
    from tuneoff.training.checkpoint import Checkpoints
    from tuneoff.training.engines.base import Engine, Rows, Saved


def total_steps(examples: int, training: TrainingSpec) -> int:
    """Optimiser steps of a run; the last batch of an epoch may be smaller than `batch_size`."""
    return -(-examples // training.batch_size) * training.epochs


class TrainingStopped(Exception):  # noqa: N818 - it is no error
    """Training was asked to stop and has; its state is in the checkpoint."""


class TrainingDiverged(Exception):  # noqa: N818 - it is a result
    """Loss or logits are no numbers any more, or the loss is far above that of guessing; the message says where."""


class Training:
    """A run's training: for each epoch the steps, then an evaluation on validation.

    The training loss is looked at every 25th of the run, the same for every device, so that a run that cannot come to
    anything ends there.

    Where the study selects the best evaluation, the model has its weights in the end, and patience may end training
    early.

    Args:
        engine: prepared; holds the model and carries out the steps.
        tokens: the splits; `test` is not touched.
        batches: the rows of each step, epoch by epoch.
        rates: the learning rate of each step.
        watch: gains `train` (optimiser steps alone), `eval` and `checkpoint` seconds.
        peak: of memory, told when it is evaluated; goes into checkpoints, as seconds and joules do.
        checkpoints: where to go on from, and when to write.
        training: the study's settings.
        kept: holds the weights of the best evaluation; None where nobody wants them.
        task: says what logits answer, and what that is worth.
        objective: what the study goes by.
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
        training: TrainingSpec,
        kept: KeptWeights | None,
        task: Task,
        objective: type[Objective],
    ) -> None:
        self._engine = engine
        self._tokens = tokens
        self._batches = batches
        self._rates = rates
        self._watch = watch
        self._peak = peak
        self._checkpoints = checkpoints
        self._training = training
        self._kept = kept
        self._task = task
        self._objective = objective
        self._total = sum(map(len, batches))
        self._guess = engine.loss.guess(tokens["train"].labels)
        self._validation: NDArray[np.float32] | None = None
        self.done = 0
        self.curve: list[CurvePoint] = []
        self.trace: Trace = []

    def resume(self, saved: Saved) -> None:
        """Takes over what an earlier process of this run had reached."""
        self._engine.restore(saved.pop("engine"))  # nobody else needs it, and it may be large
        self.done, self.curve = saved["done"], [CurvePoint(**point) for point in saved["curve"]]
        self.trace = [(step, loss) for step, loss in saved["trace"]]
        best = saved.pop("best")
        if self._kept is not None and best is not None:
            self._kept.keep(best[self._engine.ranks.rank if self._engine.parallel.sharded else 0])

    @property
    def current_loss(self) -> float | None:
        """Mean training loss of late; None before the first piece of the run has ended."""
        return self.trace[-1][1] if self.trace else None

    @property
    def selected(self) -> int:
        """The place in the curve of the evaluation whose weights the model has in the end."""
        return selected(self.curve, self._training, self._objective)

    def validation_logits(self) -> NDArray[np.float32]:
        """Of the validation split, by the model as it is in the end."""
        if self._validation is None:  # an earlier process has evaluated it
            with self._watch.timing("eval"), self._peak.evaluating():
                self._validation = self._engine.logits(self._tokens["validation"])
        return self._validation

    @property
    def examples(self) -> int:
        """Training examples that it has gone through, each counted as often as it was trained on."""
        steps = [rows for epoch in self._batches for rows in epoch][: self.done]
        return sum(map(len, steps))

    def run(self, after_step: Callable[[int], None], stopping: Callable[[], bool]) -> list[CurvePoint]:
        """Trains to the end.

        Args:
            after_step: called with the number of steps done.
            stopping: asked after each step whether to stop there.

        Returns:
            The curve, a point an epoch.

        Raises:
            TrainingStopped: once a checkpoint is written, where `stopping` says so.
            TrainingDiverged: at once where the loss leaves no hope.
        """
        end = 0
        for epoch, batches in enumerate(self._batches):
            start, end = end, end + len(batches)
            if epoch < len(self.curve):
                continue
            if is_over(self.curve, self._training, self._objective):
                break
            with self._watch.timing("train"):
                schedule = list(zip(batches, self._rates[start:end], strict=True))[self.done - start :]
                for _ in self._engine.steps(self._tokens["train"], schedule):
                    self.done += 1
                    if self.done % max(1, self._total // SEGMENTS) == 0 or self.done == end:
                        self._look_at_loss()
                    after_step(self.done)
                    self._watch.look()
                    self._checkpoint_where_due(stopping())
            point, logits = self._evaluate(epoch, start)
            self.curve.append(point)
            if self.selected == epoch:
                self._validation = logits
            if self._kept is not None and self.selected == epoch < len(self._batches) - 1:
                with self._watch.timing("checkpoint"), self._peak.pausing():
                    self._kept.keep(self._engine.trained_weights())
            self._checkpoint_where_due(stopping(), end_of_epoch=True)
        if self._kept is not None and self.selected < len(self.curve) - 1:
            with self._watch.timing("checkpoint"), self._peak.pausing():
                best = self._kept.read()
                assert best is not None
                self._engine.put_back(best)
        return self.curve

    def _look_at_loss(self) -> None:
        loss = self._engine.mean_loss()
        self.trace.append((self.done, loss if math.isfinite(loss) else None))
        if has_diverged(self.trace, self._guess):
            began = self.trace[0][1]
            where = f"at step {self.done:,} of {self._total:,}"
            if began is None:
                raise TrainingDiverged(f"the training loss is no number from the beginning ({where})")
            now = f"{loss:.3g}" if math.isfinite(loss) else "no number"
            raise TrainingDiverged(
                f"the training loss is {now} {where}, where it began at {began:.3g} and guessing gives "
                f"{self._guess:.3g}"
            )

    def _mean_loss_since(self, start: int) -> float:
        """Mean training loss of the steps since one, of the pieces by their steps."""
        pieces = [entry for entry in self.trace if entry[0] > start]
        begins = [start, *(step for step, _ in pieces[:-1])]
        return sum(
            (step - begin) * loss for begin, (step, loss) in zip(begins, pieces, strict=True) if loss is not None
        ) / (pieces[-1][0] - start)

    def _evaluate(self, epoch: int, start: int) -> tuple[CurvePoint, NDArray[np.float32]]:
        validation = self._tokens["validation"]
        with self._watch.timing("eval"), self._peak.evaluating():
            logits = self._engine.logits(validation)
        check_finite(logits, f"at step {self.done:,} of {self._total:,}")  # an update may end it after its last loss
        point = CurvePoint(
            epoch=epoch + 1,
            step=self.done,
            train_loss=self._mean_loss_since(start),
            train_seconds=self._watch.seconds["train"],
            **on_validation(self._engine.loss, self._task, self._objective, self._training, logits, validation.labels),
        )
        return point, logits

    def _checkpoint_where_due(self, stopping: bool, end_of_epoch: bool = False) -> None:
        due = self._checkpoints.due(self.done, end_of_epoch)
        stopping, due = self._engine.ranks.broadcast([stopping, due])
        if stopping or due:
            with self._watch.timing("checkpoint"), nullcontext() if self._kept is None else self._peak.pausing():
                progress = {"done": self.done, "curve": [dict(point) for point in self.curve], "trace": self.trace}
                spent = {"seconds": self._watch.so_far(), "peak_memory_bytes": self._peak.so_far()}
                spent["train_joules"] = together(self._engine.ranks.gather(self._watch.train_joules))
                self._checkpoints.save(self._engine, progress | spent | {"best": self._best_weights()})
        if stopping:
            raise TrainingStopped

    def _best_weights(self) -> list[Weights] | None:
        """Those of the best evaluation in each process that holds others than the first; None before there are any."""
        best = None if self._kept is None else self._kept.read()
        if best is None:
            return None
        return self._engine.ranks.gather(best) if self._engine.parallel.sharded else [best]


def check_finite(logits: NDArray[np.float32], where: str) -> None:
    """Makes sure that a model gives numbers.

    Raises:
        TrainingDiverged: where it does not.
    """
    if not np.isfinite(logits).all():
        raise TrainingDiverged(f"the model gives no numbers any more ({where})")


def on_validation(
    loss: Loss,
    task: Task,
    objective: type[Objective],
    training: TrainingSpec,
    logits: NDArray[np.float32],
    codes: Codes,
) -> dict[str, Any]:
    """What a point of a curve says of validation, with answers as they would be given if training ended here."""
    if objective.of == "probabilities" or training.chooses_thresholds(type(task), objective, logits.shape[1]):
        task = decided(task, training, objective, logits, codes)
    truth, answers = task.truth(codes), task.answers(logits)
    right = task.correct(truth, answers)
    return {
        "validation_loss": loss.mean_loss(logits, codes),
        "validation_accuracy": None if right is None else float(right.mean()),
        "validation_weighted_accuracy": loss.weighted_accuracy(answers, codes),
        "validation_score": objective.value(truth, task.judged(objective, logits)),
        "largest_share": task.largest_share(logits),
    }
