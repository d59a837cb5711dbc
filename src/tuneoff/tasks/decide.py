"""What turns a trained model's logits into probabilities and answers, chosen on validation: temperature, thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.spec import TrainingSpec
    from tuneoff.tasks.base import Codes, Task
    from tuneoff.tasks.objectives.base import Objective

HOTTEST = 20.0
"""And its inverse the coldest: further off, validation is all right or all wrong, and says little of how sure to be."""


def decided(
    task: Task, training: TrainingSpec, objective: type[Objective], logits: NDArray[np.float32], codes: Codes
) -> Task:
    """The task with the temperature and the thresholds that validation speaks for.

    Args:
        task: of the run.
        training: the study's.
        objective: that thresholds are chosen for.
        logits: of the validation split, shape (examples, outputs).
        codes: its labels.
    """
    tempered = with_rules(task, temperature=fit_temperature(task, logits, codes), thresholds=())
    if not training.chooses_thresholds(type(task), objective, len(task.rules.label_names)):
        return tempered
    return with_rules(tempered, thresholds=tempered.thresholds(objective, logits, codes))


def with_rules(task: Task, **rules: float | tuple[float, ...]) -> Task:
    """The same task with some rules changed."""
    return type(task)(task.rules.model_copy(update=rules), task.table)


def fit_temperature(task: Task, logits: NDArray[np.float32], codes: Codes) -> float:
    """What logits are divided by for the likelihood of these labels to be highest; 1 where there are no probabilities.

    It changes no answer. A prior of one standard deviation, a factor of e around 1, keeps a few examples that are all
    right from saying that the model is never wrong.

    Args:
        task: of the run.
        logits: of the validation split, shape (examples, outputs).
        codes: its labels.

    Source: Guo et al. 2017, On calibration of modern neural networks, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    loss = task.likelihood()
    if loss is None:
        return 1.0

    def unlikely(logarithm: float) -> float:
        scaled = (logits / np.exp(logarithm)).astype(np.float32)
        return len(codes) * loss.mean_loss(scaled, codes) + logarithm**2 / 2

    bound = np.log(HOTTEST)
    return float(np.exp(minimize_scalar(unlikely, bounds=(-bound, bound), method="bounded").x))
