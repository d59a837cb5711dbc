"""What is said of arms by the metric that a study goes by, in the middle of a sentence."""

from __future__ import annotations

ACCURACY = "accuracy"


def better(metric: str) -> str:
    """How an arm is of which the metric is higher."""
    return "more accurate" if metric == ACCURACY else f"better by {metric}"


def worse(metric: str) -> str:
    """How an arm is of which the metric is lower."""
    return "less accurate" if metric == ACCURACY else f"worse by {metric}"


def by_metric(text: str, metric: str) -> str:
    """What is written of accuracy, of the metric of a study that goes by another."""
    if metric == ACCURACY:
        return text
    said = text.replace("more accurate", "better").replace("Accuracy", f"{metric[0].upper()}{metric[1:]}")
    return said.replace("accuracy", metric)


def best(metric: str) -> str:
    """What the arm of the highest metric is."""
    return "the most accurate" if metric == ACCURACY else f"the best by {metric}"


def good_enough(metric: str) -> str:
    """How an arm is that loses no more than the margin."""
    return "accurate enough" if metric == ACCURACY else "good enough"
