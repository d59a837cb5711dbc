"""Scores of each class, and which classes an arm takes for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.records.class_scores import ByClass, ClassScores, Confusion

MOST_CONFUSIONS = 400


def score_classes(scored: Sequence[tuple[NDArray[Any], NDArray[Any]]], names: Sequence[str]) -> ByClass:
    """Scores of an arm's runs by class, through scikit-learn.

    Args:
        scored: of each run labels and predictions, class indices, shape (examples,).
        names: of the classes.
    """
    from sklearn.metrics import confusion_matrix, matthews_corrcoef, precision_recall_fscore_support

    classes = range(len(names))
    scores = np.mean(
        [
            precision_recall_fscore_support(labels, predictions, labels=classes, zero_division=0.0)[:3]
            for labels, predictions in scored
        ],
        axis=0,
    )
    counts = np.mean([confusion_matrix(labels, predictions, labels=classes) for labels, predictions in scored], axis=0)
    wrong = counts * (1 - np.eye(len(names)))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    cells = [divmod(int(cell), len(names)) for cell in largest]
    return ByClass(
        balanced_accuracy=float(scores[1][counts.any(axis=1)].mean()),
        mcc=float(np.mean([matthews_corrcoef(*run) for run in scored])),
        classes={
            name: ClassScores(precision=precision, recall=recall, f1=f1, examples=int(counts[index].sum().round()))
            for index, (name, precision, recall, f1) in enumerate(zip(names, *scores.tolist(), strict=True))
        },
        confusions=tuple(
            Confusion(label=names[label], prediction=names[prediction], examples=float(counts[label, prediction]))
            for label, prediction in cells
            if wrong[label, prediction]
        ),
    )


def score_labels(scored: Sequence[tuple[NDArray[Any], NDArray[Any]]], names: Sequence[str]) -> ByClass:
    """Scores of an arm's runs by label, of several an example, through scikit-learn.

    Args:
        scored: of each run labels and predictions, 0 or 1, shape (examples, labels).
        names: of the labels.
    """
    from sklearn.metrics import precision_recall_fscore_support

    scores = np.mean(
        [
            precision_recall_fscore_support(labels, predictions, average=None, zero_division=0.0)[:3]
            for labels, predictions in scored
        ],
        axis=0,
    )
    counts = np.sum(scored[0][0], axis=0)
    return ByClass(
        balanced_accuracy=None,
        mcc=None,
        classes={
            name: ClassScores(precision=precision, recall=recall, f1=f1, examples=int(counts[index]))
            for index, (name, precision, recall, f1) in enumerate(zip(names, *scores.tolist(), strict=True))
        },
        confusions=(),
    )
