"""How far a run is, as `progress.json` and `tuneoff status --json` say it."""

from __future__ import annotations

from tuneoff.records.record import Record


class StoredProgress(Record):
    """How far a run is while it goes on; null is what is not known yet."""

    step: int
    """optimiser steps done; on a GPU also those that wait in its queue"""
    steps: int
    """optimiser steps of the run"""
    loss: float | None
    """mean training loss of late, in nats; null where it is no finite number"""
    examples_per_second: float | None
    """training examples of late, with all that comes between steps"""
    seconds_per_step: float | None
    """since the run's process began to train, with all that comes between steps"""
    memory_bytes: int | None
    """the peak of training so far, as in the run's result"""
