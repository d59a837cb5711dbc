"""The fit of a head to features of a frozen model: what stands in the place of the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tuneoff.data.tokens import Tokens
from tuneoff.models.mean_pooled import MeanPooledClassifier
from tuneoff.records.conditions import EngineDescription
from tuneoff.records.measurements import CurvePoint
from tuneoff.tasks.losses import CrossEntropy
from tuneoff.training.engines.padded import PaddedEngine
from tuneoff.training.loop import TrainingStopped, on_validation
from tuneoff.training.parallel.devices import SingleDevice
from tuneoff.training.signs import Trace

if TYPE_CHECKING:
    from tuneoff.measure.clock import Stopwatch
    from tuneoff.measure.memory import PeakSoFar
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.tasks.base import Task
    from tuneoff.tasks.objectives.base import Objective

MOST_ROWS = 25_000
"""Training examples that are read; of more, an even sample, as for the other baselines."""
READ_AT_ONCE = 1000
"""Examples between two looks at whether to stop."""


class FeatureEngine(PaddedEngine):
    """Reads padded texts with a frozen model; takes no steps.

    Args:
        model: adapted.
        loaded: what it was made from.
        training: the study's training settings.
        device: where it computes; the model is moved there.
        parallel: how the run uses its devices.
    """

    model: MeanPooledClassifier

    def __init__(
        self,
        model: MeanPooledClassifier,
        loaded: LoadedModel,
        training: TrainingSpec,
        device: torch.device,
        parallel: SingleDevice,
    ) -> None:
        head = {f"own_head.{name}": torch.float32 for name, _ in model.own_head.named_parameters()}
        parallel.lay_out(model, loaded, device, head)
        model.own_head.to(device)  # which is whole on every device
        super().__init__(model, loaded, training, device, 1, SingleDevice(parallel.ranks))
        self._parallel_name = parallel.name

    def describe(self) -> EngineDescription:
        """How it works, for `result.json`."""
        return {"batches": self.name, "parallel": self._parallel_name, "step": "none"}


class FeatureFit:
    """Fits a head to the features of the training texts. Nothing in it is random.

    Args:
        arm: says how.
        engine: of its model, which has no head yet.
        tokens: the splits; `test` is not touched.
        watch: gains `train` (reading the training texts, and the fit) and `eval` seconds.
        peak: of memory, told when it is evaluated.
        steps: those of a run that trains, of which progress is told as a share.
        task: of classes.
        objective: what the study goes by.
    """

    def __init__(
        self,
        arm: ArmSpec,
        engine: FeatureEngine,
        tokens: dict[str, Tokens],
        watch: Stopwatch,
        peak: PeakSoFar,
        steps: int,
        training: TrainingSpec,
        task: Task,
        objective: type[Objective],
    ) -> None:
        self._arm = arm
        self._engine = engine
        self._tokens = tokens
        self._watch = watch
        self._peak = peak
        self._steps = steps
        self._training = training
        self._task = task
        self._objective = objective
        self.trace: Trace = []
        self.current_loss = None
        examples = len(tokens["train"])
        self.rows = np.linspace(0, examples - 1, min(examples, MOST_ROWS)).astype(np.int64)
        self.examples = len(self.rows)
        self.selected = 0

    def run(self, after_step: Callable[[int], None], stopping: Callable[[], bool]) -> list[CurvePoint]:
        """Reads, fits, and evaluates on validation.

        Args:
            after_step: called with a number of steps that tells the progress.
            stopping: asked now and then whether to stop there.

        Returns:
            A curve of one point, whose `step` is 0.

        Raises:
            TrainingStopped: where `stopping` says so; nothing is kept.
        """
        labels = self._tokens["train"].labels[self.rows]
        with self._watch.timing("train"):
            features = np.concatenate(list(self._read(after_step, stopping)))
            with threadpool_limits(torch.get_num_threads()):
                weights, biases = self._arm.fit(features, labels, self._engine.model.own_head.out_features)
            self._engine.model.set_head(weights, biases)
        validation = self._tokens["validation"]
        with self._watch.timing("eval"), self._peak.evaluating():
            logits = self._engine.logits(validation)
        self._validation = logits
        loss = CrossEntropy()
        return [
            CurvePoint(
                epoch=1,
                step=0,
                train_loss=loss.mean_loss((features @ weights.T + biases).astype(np.float32), labels),
                train_seconds=self._watch.seconds["train"],
                **on_validation(loss, self._task, self._objective, self._training, logits, validation.labels),
            )
        ]

    def validation_logits(self) -> NDArray[np.float32]:
        """Of the validation split."""
        return self._validation

    def _read(self, after_step: Callable[[int], None], stopping: Callable[[], bool]) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self.rows), READ_AT_ONCE):
            part = self.rows[start : start + READ_AT_ONCE]
            yield self._engine.logits(self._tokens["train"].take(part))
            after_step(self._steps * (start + len(part)) // len(self.rows))
            self._watch.look()
            if any(self._engine.ranks.broadcast([stopping()])):
                raise TrainingStopped
