"""Floors: cheap references that every arm must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuneoff.data.splits import Splits


def score_floors(splits: Splits) -> dict[str, Any]:
    """Test accuracy of the majority class and of TF-IDF with logistic regression, both fitted on train.

    Words and word pairs, sublinear term frequency, inverse regularisation 10: fixed here, tuned on nothing.

    Returns:
        By floor: `label`, `test_accuracy` and `predictions` (class indices in the order of the test split).
    """
    import numpy as np
    from sklearn.dummy import DummyClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train, test = splits.train, splits.test
    floors: dict[str, Any] = {"majority": ("majority class", DummyClassifier(strategy="most_frequent"))}
    if train["label"].nunique() > 1:
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\S+")
        floors["tfidf"] = (
            "TF-IDF + logistic regression",
            make_pipeline(words, LogisticRegression(C=10.0, max_iter=1000)),
        )
    scored = {}
    for name, (label, model) in floors.items():
        predictions = np.asarray(model.fit(train["text"], train["label"]).predict(test["text"]))
        scored[name] = {
            "label": label,
            "test_accuracy": float(np.mean(predictions == test["label"].to_numpy())),
            "predictions": predictions.astype(int).tolist(),
        }
    return scored
