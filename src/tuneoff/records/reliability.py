"""Whether an arm's predictions mean what they say, bin by bin."""

from __future__ import annotations

from tuneoff.records.record import Record


class ReliabilityBin(Record):
    """Test examples of which an arm says about the same: of all its runs together."""

    predicted: float
    """mean of what it says: the probability of its answer (or of each label, where there are several), or the number"""
    observed: float
    """what is so: the share of right answers (of the label, how often it is there), or the mean of the labels"""
    examples: int
    """how many, each counted once a run"""
