"""Baselines: cheap references that every arm must beat.

One says the same of every text. The other is TF-IDF with a linear model: words and word pairs, hashed to 2^19 features
(fewer where there are more than eight outputs) so that no vocabulary takes memory, sublinear term frequency, fixed
regularisation, tuned on nothing. Of a pair of texts both are read as one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.records.baselines import Baseline
from tuneoff.tasks.objectives.base import ClassObjective, LabelObjective
from tuneoff.tasks.thresholds import choose_cuts, of_two_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.data.splits import Splits
    from tuneoff.tasks.objectives.base import Objective

MOST_WEIGHTS = 2**22
"""Of a baseline, over all outputs: the solver takes 200 bytes for each, so that many of them leave fewer features."""
MOST_FEATURES = 2**19
MOST_ROWS = 25_000
"""Training examples that a baseline is fitted on; of more, an even sample is taken."""
INVERSE_REGULARISATION = 10.0
"""Of logistic regression."""
TWO = 2
"""Classes, of which the second may have a threshold."""
DIGITS = 7
"""Of a probability that is stored."""
PENALTY = 1.0
"""Of ridge regression, on features of length 1."""


def class_baselines(splits: Splits, objective: type[Objective] | None) -> dict[str, Baseline]:
    """The majority class, and logistic regression.

    Args:
        splits: of the data.
        objective: that the threshold of two classes is chosen for, or that judges probabilities; see `Task.baselines`.
    """
    from sklearn.linear_model import LogisticRegression

    labels, truth = splits.labels("train"), splits.labels("test")
    counts = np.bincount(labels, minlength=len(splits.label_names))
    majority = np.full(len(truth), counts.argmax())
    shares = _as_needed(objective, lambda: np.tile(counts / counts.sum(), (len(truth), 1)))
    scored = {"majority": _baseline("majority class", len(labels), majority, majority == truth, shares)}
    sample = splits.sample("train", MOST_ROWS)
    classes = sample["label"].nunique()
    if classes > 1:
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000)
        on = _fitted(splits, sample, model, sample["label"], classes)
        found = on("test", model.predict)
        if objective is not None and issubclass(objective, ClassObjective) and classes == TWO:
            known = splits.labels("validation")
            metric = of_two_classes(objective.of_counts, len(known))
            (cut,) = choose_cuts(metric, on("validation", model.decision_function)[:, None], known[:, None])
            found = (on("test", model.decision_function) > cut).astype(int)
        chances = _as_needed(objective, lambda: _spread(on("test", model.predict_proba), model.classes_, len(counts)))
        scored["tfidf"] = _baseline("TF-IDF + logistic regression", len(sample), found, found == truth, chances)
    return scored


def label_baselines(splits: Splits, objective: type[Objective] | None) -> dict[str, Baseline]:
    """The labels that more than half of the examples have, and logistic regression for each label by itself.

    Args:
        splits: of the data.
        objective: that thresholds of labels are chosen for, or that judges probabilities; see `Task.baselines`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    table = _table(splits)
    labels, truth = table[splits.labels("train")], table[splits.labels("test")]
    majority = np.tile(labels.mean(axis=0) > 0.5, (len(truth), 1))
    shares = _as_needed(objective, lambda: np.tile(labels.mean(axis=0), (len(truth), 1)))
    sample = splits.sample("train", MOST_ROWS)
    model = OneVsRestClassifier(LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000))
    with warnings.catch_warnings(action="ignore"):  # of a label that all rows of a sample have, or none
        on = _fitted(splits, sample, model, table[sample["label"]].astype(int), table.shape[1])
    found = on("test", model.predict)
    if objective is not None and issubclass(objective, LabelObjective):
        cuts = choose_cuts(
            objective.of_labels, on("validation", model.decision_function), table[splits.labels("validation")]
        )
        found = on("test", model.decision_function) > cuts
    chances = _as_needed(objective, lambda: on("test", model.predict_proba))
    return {
        "majority": _baseline("majority of each label", len(labels), majority, (majority == truth).all(1), shares),
        "tfidf": _baseline("TF-IDF + logistic regression", len(sample), found, (found == truth).all(1), chances),
    }


def _as_needed(objective: type[Objective] | None, chances: Callable[[], NDArray[Any]]) -> NDArray[Any] | None:
    """Probabilities where an objective judges them."""
    return chances() if objective is not None and objective.of == "probabilities" else None


def _spread(chances: NDArray[Any], known: NDArray[Any], classes: int) -> NDArray[Any]:
    """Probabilities of all classes, of those of the classes that a model was fitted on."""
    found = np.zeros((len(chances), classes))
    found[:, known] = chances
    return found


def number_baselines(splits: Splits) -> dict[str, Baseline]:
    """The mean of the training examples, and ridge regression."""
    from sklearn.linear_model import Ridge

    numbers = _table(splits)[:, 0]
    train = numbers[splits.labels("train")]
    sample = splits.sample("train", MOST_ROWS)
    model = Ridge(alpha=PENALTY, solver="lsqr")
    found = _fitted(splits, sample, model, numbers[sample["label"]], 1)("test", model.predict)
    return {
        "majority": _baseline("mean", len(train), np.full(splits.sizes["test"], train.mean()), None),
        "tfidf": _baseline("TF-IDF + ridge regression", len(sample), found, None),
    }


def _fitted(
    splits: Splits, sample: Any, model: Any, labels: Any, outputs: int
) -> Callable[[str, Callable[[Any], Any]], NDArray[Any]]:
    """Fits a linear model of words on a sample of the training texts.

    Returns:
        What a function of the model, such as `predict`, says of the texts of a split.
    """
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    words = HashingVectorizer(
        n_features=min(MOST_FEATURES, 2 ** int(np.log2(MOST_WEIGHTS / outputs))),
        ngram_range=(1, 2),
        token_pattern=r"(?u)\S+",
        norm=None,
        alternate_sign=False,
        dtype=np.float32,
    )
    vectors = make_pipeline(words, TfidfTransformer(sublinear_tf=True))
    train = vectors.fit_transform(_read(sample))
    seen = np.unique(train.indices)  # others have no weight in the end, and the solver takes as long for them
    with threadpool_limits(1):  # more threads only wait for each other on vectors this sparse
        model.fit(train[:, seen], labels)

    def on(split: str, say: Callable[[Any], Any]) -> NDArray[Any]:
        found = (vectors.transform(_read(table.to_pandas())) for table in splits.tables(split))
        return np.concatenate([np.asarray(say(one[:, seen])) for one in found])

    return on


def _table(splits: Splits) -> NDArray[np.float64]:
    assert splits.rows.label_table is not None
    return splits.rows.label_table


def _read(frame: Any) -> list[str]:
    if "text_pair" in frame.columns:
        return [f"{text} {pair}" for text, pair in zip(frame["text"], frame["text_pair"], strict=True)]
    return list(frame["text"])


def _baseline(
    label: str,
    trained_on: int,
    predictions: NDArray[Any],
    right: NDArray[np.bool_] | None,
    probabilities: NDArray[Any] | None = None,
) -> Baseline:
    if predictions.ndim == 2:
        answers: tuple[Any, ...] = tuple(tuple(row) for row in predictions.astype(int).tolist())
    else:
        answers = tuple((predictions.astype(int) if right is not None else predictions.astype(float)).tolist())
    return Baseline(
        label=label,
        test_accuracy=None if right is None else float(right.mean()),
        trained_on=trained_on,
        predictions=answers,
        probabilities=() if probabilities is None else tuple(map(tuple, probabilities.round(DIGITS).tolist())),
    )
