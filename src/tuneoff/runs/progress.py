"""How far a run is, as its process tells it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuneoff.records.progress import StoredProgress


@dataclass(frozen=True)
class RunProgress:
    """How far a run is; None stands for what is not known yet.

    Attributes:
        steps: optimiser steps done; on a GPU also those that wait in its queue.
        loss: mean training loss of late, in nats; None of a run that computes none.
        examples_per_second: training examples of late, with all that comes between steps.
        seconds_per_step: since the run's process began to train, with all that comes between steps.
        memory_bytes: the peak of training so far, as in the run's result.
    """

    steps: int
    loss: float | None = None
    examples_per_second: float | None = None
    seconds_per_step: float | None = None
    memory_bytes: int | None = None

    def entry(self, total: int) -> StoredProgress:
        """What `progress.json` says, of a run of `total` steps. A loss that is no number is None there."""
        return StoredProgress(
            step=self.steps,
            steps=total,
            loss=self.loss if self.loss is not None and math.isfinite(self.loss) else None,
            examples_per_second=self.examples_per_second,
            seconds_per_step=self.seconds_per_step,
            memory_bytes=self.memory_bytes,
        )
