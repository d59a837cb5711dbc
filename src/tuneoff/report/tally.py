"""How the runs of a plan stand, counted, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tuneoff.records.progress import StoredProgress
from tuneoff.records.run import TrainedRun
from tuneoff.records.state import RunState
from tuneoff.study.ahead import Ahead


@dataclass(frozen=True)
class Measured:
    """A run that came to its end: what it took.

    Attributes:
        steps: optimiser steps that were planned.
        train_seconds: in these.
        wall_seconds: of its process.
    """

    steps: int
    train_seconds: float
    wall_seconds: float


@dataclass(frozen=True)
class Tally:
    """How the runs of a plan stand.

    Attributes:
        runs: all of them, trials included.
        trials: how many of them tune.
        ok: came to their end.
        diverged_trials: are done as well: that a rate is too high is what they were to find out.
        left: are to be begun, or to go on.
        steps_left: optimiser steps of these.
        running: how far those are that go on now.
        measured: what those took that came to their end, as far as it is known.
    """

    runs: int
    trials: int
    ok: int
    diverged_trials: int
    left: int
    steps_left: float
    running: tuple[StoredProgress, ...] = ()
    measured: tuple[Measured, ...] = ()

    @classmethod
    def of(cls, states: Iterable[RunState]) -> Self:
        """Counts runs by their states."""
        states = list(states)
        waiting = [state.entry for state in states if state.state in ("left", "interrupted")]
        return cls(
            runs=len(states),
            trials=sum(state.entry.trial for state in states),
            ok=sum(state.state == "ok" for state in states),
            diverged_trials=sum(state.entry.trial and state.state == "diverged" for state in states),
            left=len(waiting),
            steps_left=sum(entry.steps or 0 for entry in waiting),
            running=tuple(state.progress for state in states if state.progress is not None),
            measured=tuple(
                Measured(state.entry.steps, state.result.train_seconds, state.result.wall_seconds)
                for state in states
                if state.progress is None and state.entry.steps is not None and isinstance(state.result, TrainedRun)
            ),
        )

    @property
    def failed(self) -> int:
        """How many have ended, but not well."""
        return self.runs - self.ok - self.diverged_trials - len(self.running) - self.left

    def seconds_left(self, ahead: Ahead) -> float | None:
        """Seconds until all that is planned and all that follows is done, as many runs at a time as run now.

        A run is taken to need as many seconds a step as those that are done, and as many for all else; where none is
        done, the steps of those that run say how long it takes. None where nothing runs, or where nothing is known yet.
        """
        paces = [run.seconds_per_step for run in self.running if run.seconds_per_step is not None]
        if not self.running or not (self.measured or paces):
            return None
        if self.measured:
            a_step = sum(run.train_seconds for run in self.measured) / sum(run.steps for run in self.measured)
            beside = sum(run.wall_seconds - run.train_seconds for run in self.measured) / len(self.measured)
        else:
            a_step, beside = sum(paces) / len(paces), 0.0
        to_go = [1 - run.step / run.steps for run in self.running]
        steps = self.steps_left + ahead.steps
        steps += sum(fraction * run.steps for fraction, run in zip(to_go, self.running, strict=True))
        count = self.left + ahead.trials + ahead.runs + sum(to_go)
        return float((a_step * steps + beside * count) / len(self.running))
