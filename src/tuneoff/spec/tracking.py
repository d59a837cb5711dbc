"""`[tracking]` of a study file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import Field, create_model

from tuneoff.core.frozen import Frozen
from tuneoff.core.registry import Registry

if TYPE_CHECKING:
    from tuneoff.tracking.base import Tracker

TRACKERS: Registry[Tracker] = Registry("tuneoff.tracking", "tuneoff.tracking.base.Tracker", "tracker")


class TrackingSpec(Frozen):
    """`[tracking]`: where results are shown besides the report. None of it changes a result, or names a run.

    A tracker of another package adds a field of its name (`tracking_table`).
    """

    wandb: bool = Field(default=False, description="Weights & Biases, online or offline as it is set up")
    tensorboard: bool = Field(default=False, description="event files in the study's folder")
    mlflow: bool = Field(default=False, description="MLFLOW_TRACKING_URI, or a store in the study's folder")
    wandb_project: str = Field(default="tuneoff", min_length=1, description="W&B's project")

    def __reduce__(self) -> tuple[Any, ...]:
        # The class with a field for each tracker is made at runtime, so a pickle cannot name it.
        return with_every_tracker, (self.model_dump(),)


@cache
def tracking_table() -> type[TrackingSpec]:
    """`[tracking]` with a field for each tracker that there is."""
    others = [name for name in TRACKERS.classes() if name not in TrackingSpec.model_fields]
    fields: dict[str, Any] = {name: (bool, Field(default=False)) for name in others}
    return create_model("TrackingTable", __base__=TrackingSpec, **fields)


def with_every_tracker(value: Any) -> Any:
    """A table of `[tracking]`, with a field for each tracker that there is."""
    return value if isinstance(value, TrackingSpec) else tracking_table().model_validate(value)
