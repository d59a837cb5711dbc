"""Frozen features: the pretrained model as it is, read by a logistic regression. A baseline for the other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from tuneoff.models.load import LoadedModel

UNSEEN = -30.0
"""The logit of a class that has no training example."""


class FrozenFeatures(ArmSpec):
    title: ClassVar[str] = "frozen features"
    summary: ClassVar[str] = "trains nothing of the model: frozen features + logistic regression, a baseline"
    reference: ClassVar[str] = (
        "Reimers and Gurevych 2019 (mean pooling), Conneau and Kiela 2018 (logistic regression on frozen sentence "
        "features); penalty as in scikit-learn"
    )
    shortfall: ClassVar[str] = "7 to 15 points of accuracy: nothing of the model learns the task"
    fitted: ClassVar[bool] = True

    method: Literal["frozen_features"] = "frozen_features"
    learning_rate: float | None = Field(
        default=0.0, ge=0, le=0, description="none: it is fitted at once, without steps"
    )
    inverse_penalty: float = Field(default=1.0, gt=0, description="C of the logistic regression, on scaled features")

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        from tuneoff.models.mean_pooled import MeanPooledClassifier

        return MeanPooledClassifier(loaded)

    def fit(
        self, features: NDArray[np.float32], labels: NDArray[np.int64], classes: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        scaled = scaler.fit_transform(features)
        seen = np.unique(labels)
        weights, biases = np.zeros((classes, features.shape[1])), np.full(classes, UNSEEN)
        biases[seen] = 0.0
        if len(seen) > 1:
            regression = LogisticRegression(C=self.inverse_penalty, max_iter=1000).fit(scaled, labels)
            own = seen if len(seen) > 2 else seen[1:]  # of two classes the first keeps a logit of zero
            weights[own], biases[own] = regression.coef_, regression.intercept_
        weights /= scaler.scale_
        return weights, biases - weights @ scaler.mean_
