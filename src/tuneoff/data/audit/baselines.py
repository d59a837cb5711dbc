"""What baselines say about a task: trivial or cheap models that are as good as it gets."""

from __future__ import annotations

from collections.abc import Iterable

from tuneoff.records.finding import Finding

HIGH = 0.98
NEAR = 0.01
ROUNDING = 1e-9


def baseline_findings(
    baselines: Iterable[tuple[str, float]], best_arm: tuple[str, float] | None = None
) -> list[Finding]:
    """Warnings about baselines that leave the arms no room.

    Args:
        baselines: what each is called, and its test accuracy.
        best_arm: name and mean test accuracy of the best arm, once there is one.
    """
    findings = []
    for label, accuracy in baselines:
        if accuracy >= HIGH - ROUNDING:
            findings.append(
                _warning(
                    "baseline-high",
                    f"the baseline '{label}' is right for {100 * accuracy:.1f}% of the test examples: the task is "
                    "nearly solved without fine-tuning, or something gives the labels away.",
                    "Look for a leak; if there is none, use the baseline.",
                )
            )
        if best_arm is not None and best_arm[1] - accuracy <= NEAR + ROUNDING:
            name, best = best_arm
            how = "is as good as" if accuracy >= best else "comes within a point of"
            findings.append(
                _warning(
                    "baseline-near-best",
                    f"the baseline '{label}' ({100 * accuracy:.1f}%) {how} the best arm, {name} ({100 * best:.1f}%): "
                    "on this data fine-tuning gains next to nothing.",
                    "Use the baseline, or compare on more or harder data.",
                )
            )
    return findings


def _warning(name: str, message: str, advice: str) -> Finding:
    return Finding(name=name, severity="warning", split="test", count=0, message=message, advice=advice)
