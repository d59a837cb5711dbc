"""Whether fine-tuning was worth it at all: the arms against each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.analysis.against_baselines import AgainstBaseline, against_baseline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults


def compare_with_baselines(
    results: StudyResults, arms: Sequence[Mapping[str, Any]], correct: Mapping[str, NDArray[np.float64]]
) -> dict[str, list[AgainstBaseline]]:
    """By baseline, each arm that has results against it; nothing where no arm has."""
    scored = [arm["arm"] for arm in arms if arm["runs"]]
    if not scored:
        return {}
    truth = results.predictions(scored[0])[0]["label"].to_numpy()
    return {
        name: against_baseline(arms, correct, np.asarray(baseline["predictions"]) == truth)
        for name, baseline in results.prepared.baselines.items()
    }


def baseline_headlines(labels: Mapping[str, str], against: Mapping[str, list[AgainstBaseline]]) -> list[dict[str, Any]]:
    """For each baseline, whether an arm beats it, as plain JSON.

    `verdict` is "beaten" where an arm is more accurate beyond the noise (Holm's correction over all arms), "not shown"
    where one has a higher mean, but that is not shown, and "not beaten" where none has. With one seed the test is
    McNemar's, of trained models and not of methods, and the sentence says so.

    Args:
        labels: what each baseline is called.
        against: by baseline, what `compare_with_baselines` found.

    Returns:
        `baseline`, `label`, `arm` (of highest mean), `difference` (that arm minus the baseline), `p_holm`, `verdict`,
        `sentence`.
    """
    headlines = []
    for name, found in against.items():
        best = max(found, key=lambda one: one.difference.difference.mean)
        beaten = any(one.beaten for one in found)
        verdict = "beaten" if beaten else "not shown" if best.difference.difference.mean > 0 else "not beaten"
        headlines.append(
            {
                "baseline": name,
                "label": labels[name],
                "arm": best.arm,
                "difference": asdict(best.difference.difference),
                "p_holm": best.p_holm,
                "verdict": verdict,
                "sentence": _sentence(verdict, labels[name], best, len(found)),
            }
        )
    return headlines


def _sentence(verdict: str, label: str, best: AgainstBaseline, arms: int) -> str:
    seen = best.difference.difference
    points = f"{100 * seen.mean:+.1f} points, {100 * seen.ci_low:+.1f} to {100 * seen.ci_high:+.1f}"
    if verdict == "not beaten":
        return f"No arm beats the baseline of {label} (the best, {best.arm}: {points})."
    if verdict == "not shown":
        inside = seen.ci_low <= 0
        why = "ahead inside the noise" if inside else f"ahead, but not after correcting for {arms} arms"
        return f"No arm is shown to beat the baseline of {label}: the best, {best.arm}, is {why} ({points})."
    one_seed = "" if seen.covers_seeds else ", with one seed, so of this trained model alone"
    return f"The baseline of {label} is beaten by {best.arm} ({points}{one_seed})."
