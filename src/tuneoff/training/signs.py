"""Signs of learning: how the training loss went, beside what guessing would give."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuneoff.records.measurements import LossTrace
from tuneoff.records.run import DivergedRun, RunResult, TrainedRun

SEGMENTS = 25
"""In how many pieces a run's training loss is kept."""
NEAR_GUESSING = 0.95
"""Of the loss of guessing: a training loss above this has not left it."""
UNSTABLE = 1.25
"""Times the loss of the beginning: a rate at which the loss rises so far and then stays near guessing is too high."""
RISEN = 3.0
"""Times the loss of the beginning, or of guessing where that is higher: from there a run is given up."""

Trace = list[tuple[int, float | None]]
"""Steps done, and the mean training loss since the entry before; None where that is no finite number, as in JSON."""


@dataclass(frozen=True)
class Signs:
    """How a run's training loss went, in units of the loss of guessing.

    Attributes:
        first_loss: of the first piece of the run; infinite where it is no number, as the others are.
        largest_loss: of the worst one.
        final_loss: mean of the last third of the steps; infinite where the run was given up.
    """

    first_loss: float
    largest_loss: float
    final_loss: float

    @classmethod
    def of(cls, result: RunResult) -> Signs | None:
        """Of a stored result; None where it holds no training loss, or there is only one class."""
        if not isinstance(result, TrainedRun | DivergedRun) or not result.guess_loss or not result.loss_trace:
            return None
        guess, trace = result.guess_loss, result.loss_trace
        losses = [math.inf if loss is None else loss / guess for _, loss in trace]
        given_up = isinstance(result, DivergedRun)
        final = math.inf if given_up else _last_third(trace) / guess
        return cls(losses[0], max(losses), final)

    @property
    def unstable(self) -> bool:
        """Whether the loss rose well above that of the beginning."""
        return self.largest_loss >= UNSTABLE * self.first_loss or not math.isfinite(self.final_loss)


def has_diverged(trace: Trace, guess: float) -> bool:
    """Whether the loss is no number any more, or has risen so far that nothing good can come of the run."""
    if not trace:
        return False
    first, latest = trace[0][1], trace[-1][1]
    return first is None or latest is None or latest > RISEN * max(first, guess)


def _last_third(trace: LossTrace) -> float:
    """Mean training loss of the last third of the steps of a run that was not given up, by whole pieces."""
    ends = [step for step, _ in trace]
    begins = [0, *ends[:-1]]
    late = [
        (end - begin, loss)
        for begin, end, (_, loss) in zip(begins, ends, trace, strict=True)
        if loss is not None and (begin >= 2 * ends[-1] // 3 or end == ends[-1])
    ]
    return math.fsum(steps * loss for steps, loss in late) / sum(steps for steps, _ in late)
