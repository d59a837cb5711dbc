"""The objectives by name, and those by which names of other libraries are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.core.registry import Registry

if TYPE_CHECKING:
    from tuneoff.tasks.objectives.base import Objective

OBJECTIVES: Registry[Objective] = Registry(
    "tuneoff.tasks.objectives", "tuneoff.tasks.objectives.base.Objective", "objective"
)

SAME_ORDER = {
    **dict.fromkeys(("log_loss", "neg_log_loss", "cross_entropy", "loss"), "d2_log_loss"),
    **dict.fromkeys(("mae", "mean_absolute_error", "neg_mean_absolute_error"), "d2_absolute_error"),
    **dict.fromkeys(("rmse", "mse", "mean_squared_error", "root_mean_squared_error"), "r2"),
    **dict.fromkeys(("roc_auc", "auc", "roc_auc_ovr"), "auroc"),
    **dict.fromkeys(("ap", "map", "pr_auc"), "average_precision"),
    **dict.fromkeys(("f1", "f1_macro"), "macro_f1"),
    **dict.fromkeys(("f1_micro",), "micro_f1"),
    **dict.fromkeys(("f1_weighted",), "weighted_f1"),
    **dict.fromkeys(("matthews_corrcoef", "matthews_correlation"), "mcc"),
}
"""Names of metrics elsewhere, and the objective that orders arms as they do, the higher the better."""


def known_objective(name: str) -> str:
    """The same name.

    Raises:
        ValueError: where no objective is called so.
    """
    if name not in OBJECTIVES.classes() and name in SAME_ORDER:
        raise ValueError(f"write '{SAME_ORDER[name]}', which orders arms as '{name}' does, the higher the better")
    OBJECTIVES.named(name)
    return name


def one_of(names: Sequence[str]) -> str:
    """What to choose from, in words."""
    *others, last = names
    return f"choose {', '.join(others)} or {last}" if others else f"choose {last}"
