"""Baselines: cheap references that every arm must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuneoff.records.baselines import Baseline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.data.splits import Splits

MOST_WEIGHTS = 2**22
"""Of a baseline, over all classes: the solver takes 200 bytes for each, so that many classes leave fewer features."""
MOST_FEATURES = 2**19
MOST_ROWS = 25_000
"""Training examples that a baseline is fitted on; of more, an even sample is taken."""


def in_a_sentence(name: str, label: str) -> str:
    """What a baseline is called in a sentence."""
    return f"the {label}" if name == "majority" else label


def score_baselines(splits: Splits) -> dict[str, Baseline]:
    """Test accuracy of the majority class and of TF-IDF with logistic regression, both fitted on train.

    Words and word pairs, hashed to 2^19 features (fewer with more than eight classes) so that no vocabulary takes
    memory, sublinear term frequency, inverse regularisation 10: fixed here, tuned on nothing. Of a pair of texts both
    are read as one.

    Returns:
        By the baseline's name.
    """
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    labels = splits.labels("train")
    majority = np.bincount(labels).argmax()
    scored = {"majority": _scored("majority class", splits, len(labels), np.full(splits.sizes["test"], majority))}
    sample = splits.sample("train", MOST_ROWS)
    classes = sample["label"].nunique()
    if classes > 1:
        words = HashingVectorizer(
            n_features=min(MOST_FEATURES, 2 ** int(np.log2(MOST_WEIGHTS / classes))),
            ngram_range=(1, 2),
            token_pattern=r"(?u)\S+",
            norm=None,
            alternate_sign=False,
            dtype=np.float32,
        )
        weights = TfidfTransformer(sublinear_tf=True)
        model = make_pipeline(words, weights, LogisticRegression(C=10.0, max_iter=1000))
        with threadpool_limits(1):  # more threads only wait for each other on vectors this sparse
            model.fit(_read(sample), sample["label"])
        predictions = [model.predict(_read(table.to_pandas())) for table in splits.tables("test")]
        scored["tfidf"] = _scored("TF-IDF + logistic regression", splits, len(sample), np.concatenate(predictions))
    return scored


def pooled_baselines(
    by_fold: Sequence[Mapping[str, Baseline]], labels: Sequence[NDArray[np.integer]]
) -> dict[str, Baseline]:
    """The baselines of folds as those of the whole: predictions in the order of folds, accuracy over all of them.

    Args:
        by_fold: what `score_baselines` returned for each; only baselines of all folds are kept, `trained_on`
            is that of the first.
        labels: of each fold's test split, shape (examples,).
    """
    import numpy as np

    pooled = {}
    truth = np.concatenate(labels)
    for name, first in by_fold[0].items():
        if all(name in baselines for baselines in by_fold):
            predictions = [label for baselines in by_fold for label in baselines[name].predictions]
            accuracy = float((np.array(predictions) == truth).mean())
            pooled[name] = first.model_copy(update={"test_accuracy": accuracy, "predictions": tuple(predictions)})
    return pooled


def _read(frame: Any) -> list[str]:
    if "text_pair" in frame.columns:
        return [f"{text} {pair}" for text, pair in zip(frame["text"], frame["text_pair"], strict=True)]
    return list(frame["text"])


def _scored(label: str, splits: Splits, trained_on: int, predictions: NDArray[np.int64]) -> Baseline:
    return Baseline(
        label=label,
        test_accuracy=float((predictions == splits.labels("test")).mean()),
        trained_on=trained_on,
        predictions=tuple(predictions.astype(int).tolist()),
    )
