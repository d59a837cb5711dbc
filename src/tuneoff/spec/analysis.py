"""`[analysis]` of a study."""

from __future__ import annotations

from pydantic import Field

from tuneoff.core.frozen import Frozen
from tuneoff.core.quantities import parse_bytes, parse_seconds
from tuneoff.records.recommendation import Limits, Preference
from tuneoff.spec.quantities import Duration, Size


class AnalysisSpec(Frozen):
    """`[analysis]`: what the results are asked. None of it changes a result, so none of it names a run."""

    margin: float = Field(default=0.01, gt=0, lt=1, description="accuracy that may be lost for a cheaper arm")
    prefer: Preference = Field(default="memory", description="what makes an arm the cheapest")
    max_memory: Size | None = Field(default=None, description="arms that need more in training are not recommended")
    max_train_time: Duration | None = Field(default=None, description="nor are arms that train longer")
    min_accuracy: float | None = Field(default=None, ge=0, le=1, description="nor are arms whose mean is lower")
    price_per_hour: float | None = Field(
        default=None, gt=0, le=1e9, description="of one GPU, or on a CPU of the machine; reports tell what runs cost"
    )
    currency: str = Field(default="", max_length=8, description="of that price, such as EUR")
    grams_co2_per_kwh: float | None = Field(
        default=None, gt=0, le=1e4, description="of the electricity; reports tell the CO2 of runs whose energy is known"
    )

    @property
    def limits(self) -> Limits:
        """What the user's machine and patience allow."""
        return Limits(
            max_memory=None if self.max_memory is None else parse_bytes(self.max_memory),
            max_train_time=None if self.max_train_time is None else parse_seconds(self.max_train_time),
            min_accuracy=self.min_accuracy,
        )
