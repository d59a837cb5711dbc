"""What two values of a metric can be apart, beside those of accuracy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """That of a metric whose best value is 1.

    Attributes:
        unit: how far one example moves the metric, times the number of examples (`Contributions`).
        span: how far two values can be apart: 2 of a correlation, infinitely far where there is no lowest value.
    """

    unit: float = 1.0
    span: float = 1.0


OF_ACCURACY = Scale()
