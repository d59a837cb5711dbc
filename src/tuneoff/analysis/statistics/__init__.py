"""What the accuracies of a study can and cannot show: intervals, comparisons, claims, calibration, power.

`docs/statistics.md` explains each number; `docs/decisions/010-statistics.md` and `016-verdict.md` why it is computed
this way.
"""

from tuneoff.analysis.statistics.calibration import (
    Calibration,
    brier_score,
    calibration_of,
    expected_calibration_error,
)
from tuneoff.analysis.statistics.claims import (
    RISK,
    Choice,
    at_worst,
    choose,
    least_examples,
    least_margin,
    most_accurate,
    shown,
)
from tuneoff.analysis.statistics.confident import NONE, called_wrong
from tuneoff.analysis.statistics.crossed import CrossedMean
from tuneoff.analysis.statistics.extrapolation import Estimate, UnknowableError, extrapolate
from tuneoff.analysis.statistics.field import Field
from tuneoff.analysis.statistics.intervals import mean_interval
from tuneoff.analysis.statistics.multiple import adjust_pairs, holm
from tuneoff.analysis.statistics.pairs import PairedDifference, lowest_sign_flip_p_value, paired_difference
from tuneoff.analysis.statistics.power import needed_for_difference, needed_to_show
from tuneoff.analysis.statistics.scale import OF_ACCURACY, Scale

__all__ = [
    "NONE",
    "OF_ACCURACY",
    "RISK",
    "Calibration",
    "Choice",
    "CrossedMean",
    "Estimate",
    "Field",
    "PairedDifference",
    "Scale",
    "UnknowableError",
    "adjust_pairs",
    "at_worst",
    "brier_score",
    "calibration_of",
    "called_wrong",
    "choose",
    "expected_calibration_error",
    "extrapolate",
    "holm",
    "least_examples",
    "least_margin",
    "lowest_sign_flip_p_value",
    "mean_interval",
    "most_accurate",
    "needed_for_difference",
    "needed_to_show",
    "paired_difference",
    "shown",
]
