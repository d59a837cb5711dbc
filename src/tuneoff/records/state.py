"""How a planned run stands, put together from the plan, its progress and its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuneoff.records.plan import PlanEntry
from tuneoff.records.progress import StoredProgress
from tuneoff.records.run import RunResult, ScoredRun, Status, TrainedRun, UnsuccessfulRun

State = Status | Literal["running", "left"]


@dataclass(frozen=True)
class RunState:
    """How a planned run stands.

    Attributes:
        entry: what the plan says of it.
        progress: how far it is, of one that goes on now.
        result: of one that has ended, or was interrupted.
    """

    entry: PlanEntry
    progress: StoredProgress | None = None
    result: RunResult | None = None

    @property
    def state(self) -> State:
        """Its status, or `running`, or `left`."""
        if self.progress is not None:
            return "running"
        return "left" if self.result is None else self.result.status

    def as_json(self) -> dict[str, object]:
        """What `tuneoff status --json` prints: the plan's entry, `state`, and its progress or scores."""
        found = {**self.entry.model_dump(mode="json"), "state": self.state}
        if self.progress is not None:
            return found | self.progress.model_dump(mode="json")
        if isinstance(self.result, UnsuccessfulRun):
            return found | {"error": self.result.error}
        if isinstance(self.result, ScoredRun):
            found["test_accuracy"] = self.result.test_accuracy
        if isinstance(self.result, TrainedRun):
            names = ("validation_accuracy", "train_seconds", "wall_seconds")
            found |= {name: getattr(self.result, name) for name in names}
        return found
