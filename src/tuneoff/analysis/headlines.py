"""Whether fine-tuning was worth it at all: the arms against each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.analysis.comparisons import RISK
from tuneoff.analysis.statistics import PairedDifference, holm, paired_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults


def baseline_headlines(
    results: StudyResults, arms: Sequence[Mapping[str, Any]], correct: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    """For each baseline, whether an arm beats it, as plain JSON.

    `verdict` is "beaten" where an arm is more accurate beyond the noise (Holm's correction over all arms), "not shown"
    where one is more accurate, but inside the noise, and "not beaten" where none has a higher mean. A baseline is
    fitted once and its luck is not part of the noise. With one seed the test is McNemar's, of trained models and not of
    methods, and the sentence says so.

    Returns:
        `baseline`, `label`, `arm` (of highest mean), `difference` (that arm minus the baseline), `p_holm`, `verdict`,
        `sentence`.
    """
    scored = [arm["arm"] for arm in arms if arm["runs"]]
    if not scored:
        return []
    truth = results.predictions(scored[0])[0]["label"].to_numpy()
    headlines = []
    for name, baseline in results.prepared.baselines.items():
        right = (np.asarray(baseline["predictions"]) == truth).astype(np.float64)
        found = [paired_difference(correct[arm], np.broadcast_to(right, correct[arm].shape)) for arm in scored]
        adjusted = holm([difference.p_value for difference in found])
        best = max(range(len(scored)), key=lambda index: found[index].difference.mean)
        beaten = any(
            p_value < RISK and difference.difference.mean > 0
            for p_value, difference in zip(adjusted, found, strict=True)
        )
        verdict = "beaten" if beaten else "not shown" if found[best].difference.mean > 0 else "not beaten"
        headlines.append(
            {
                "baseline": name,
                "label": baseline["label"],
                "arm": scored[best],
                "difference": asdict(found[best].difference),
                "p_holm": adjusted[best],
                "verdict": verdict,
                "sentence": _sentence(verdict, baseline["label"], scored[best], found[best]),
            }
        )
    return headlines


def _sentence(verdict: str, label: str, arm: str, found: PairedDifference) -> str:
    seen = found.difference
    points = f"{100 * seen.mean:+.1f} points, {100 * seen.ci_low:+.1f} to {100 * seen.ci_high:+.1f}"
    if verdict == "not beaten":
        return f"No arm beats the baseline of {label} (the best, {arm}: {points})."
    if verdict == "not shown":
        return (
            f"No arm is shown to beat the baseline of {label}: the best, {arm}, is ahead inside the noise ({points})."
        )
    one_seed = "" if seen.covers_seeds else ", with one seed, so of this trained model alone"
    return f"The baseline of {label} is beaten by {arm} ({points}{one_seed})."
