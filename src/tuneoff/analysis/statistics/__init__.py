"""What the accuracies of a study can and cannot show: intervals, comparisons, calibration, power.

`docs/statistics.md` explains each number; `docs/decisions/010-statistics.md` why it is computed this way.
"""

from tuneoff.analysis.statistics.calibration import brier_score, expected_calibration_error, per_class_f1, softmax
from tuneoff.analysis.statistics.crossed import CrossedMean
from tuneoff.analysis.statistics.intervals import Interval, mean_interval
from tuneoff.analysis.statistics.multiple import close_to_best, holm
from tuneoff.analysis.statistics.pairs import (
    PairedDifference,
    least_examples,
    lowest_sign_flip_p_value,
    paired_difference,
)
from tuneoff.analysis.statistics.power import Needed, needed

__all__ = [
    "CrossedMean",
    "Interval",
    "Needed",
    "PairedDifference",
    "brier_score",
    "close_to_best",
    "expected_calibration_error",
    "holm",
    "least_examples",
    "lowest_sign_flip_p_value",
    "mean_interval",
    "needed",
    "paired_difference",
    "per_class_f1",
    "softmax",
]
