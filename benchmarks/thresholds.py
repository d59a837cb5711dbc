"""What choosing the threshold of an answer does: a half, the best on validation labels, and Tuneoff's choice.

    python benchmarks/thresholds.py MODEL_FOLDER DATA.parquet... [--draws 12]

For each file (columns `text` and `label`) the mean of a pretrained model's last hidden states is taken once. Then,
many times over: some texts train a logistic regression, some are for validation, the rest is the test. Each class
against the rest is a study of two classes; each text beside up to two others, with all their classes, is one of several
labels.
Printed is the mean over draws and classes of each objective on test, in points, as Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.tasks.objectives.base import ClassObjective, LabelObjective
from tuneoff.tasks.thresholds import choose_cuts, of_two_classes

TRAIN, TOKENS, BATCH = 800, 96, 64
VALIDATION = (50, 100, 300, 1000)
RARE = 400
"""Texts of a class at most, when it stands against the rest."""
OF_TWO, OF_SEVERAL = ("macro_f1", "mcc", "balanced_accuracy"), ("micro_f1", "macro_f1")
Scores = dict[tuple[str, int, str], dict[str, list[float]]]


def features(folder: str, texts: list[str]) -> NDArray[np.float32]:
    """The mean of a pretrained model's last hidden states, shape (texts, hidden)."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModel.from_pretrained(folder).eval()
    found = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    order = np.argsort([len(text) for text in texts])
    for start in range(0, len(texts), BATCH):
        rows = order[start : start + BATCH]
        inputs = tokenizer(
            [texts[row] for row in rows], padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][..., None]
        found[rows] = ((states * mask).sum(1) / mask.sum(1)).numpy()
    return found


def two_classes(x: NDArray[Any], labels: NDArray[Any], draw: np.random.Generator) -> Iterator[tuple[Any, Any]]:
    """Each class, thinned to be rare, against the rest."""
    for label in np.unique(labels):
        of_class = draw.permutation(np.flatnonzero(labels == label))[:RARE]
        rows = draw.permutation(np.concatenate([np.flatnonzero(labels != label), of_class]))
        yield x[rows], (labels[rows] == label).astype(np.int64)


def several_labels(x: NDArray[Any], labels: NDArray[Any], draw: np.random.Generator) -> tuple[Any, Any]:
    """Each text beside none to two others: the mean of their features, and all their classes."""
    count = draw.integers(1, 4, len(x))
    beside = draw.integers(0, len(x), (len(x), 3))
    beside[:, 0] = np.arange(len(x))
    taken = np.arange(3)[None] < count[:, None]
    known = np.unique(labels)
    sets = ((labels[beside][..., None] == known) & taken[..., None]).any(axis=1)
    return (x[beside] * taken[..., None]).sum(1) / count[:, None], sets.astype(np.int8)


def best_on_labels(objective: Any, log_odds: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
    """The cut of each output that does best on its validation labels; of several labels by each one's own F1."""
    cuts = []
    for one, so in zip(log_odds.T, truth.T, strict=True):
        tried = np.unique(np.append(one, 0.0))
        tried = np.append((tried[1:] + tried[:-1]) / 2, 0.0)
        values = [_value(objective, so, one > cut) for cut in tried]
        cuts.append(tried[int(np.argmax(values))])
    return np.array(cuts)


def _value(objective: Any, truth: NDArray[Any], said: NDArray[Any]) -> float:
    if issubclass(objective, LabelObjective) and truth.ndim == 2:
        return float(objective.value(truth, said.astype(np.int8)))
    return float(objective.value(truth.astype(int), said.astype(int)))


def draws(name: str, x: NDArray[Any], labels: NDArray[Any], times: int) -> Scores:
    """Scores on test, in points, by data, validation texts and objective, and then by way of choosing."""
    found: Scores = {}
    draw = np.random.default_rng(0)
    for _ in range(times):
        studies: list[tuple[str, tuple[str, ...], Any, Any]] = [
            (f"{name}, a class against the rest", OF_TWO, *study) for study in two_classes(x, labels, draw)
        ]
        studies.append((f"{name}, several labels", OF_SEVERAL, *several_labels(x, labels, draw)))
        for title, objectives, inputs, truth in studies:
            rows = draw.permutation(len(inputs))
            table = truth[:, None] if truth.ndim == 1 else truth
            models = [
                LogisticRegression(C=10.0, max_iter=500).fit(inputs[rows[:TRAIN]], column)
                for column in table[rows[:TRAIN]].T
            ]
            scores = np.stack([model.decision_function(inputs) for model in models], axis=1)
            for size in VALIDATION:
                known, unknown = rows[TRAIN : TRAIN + size], rows[TRAIN + size :]
                for of in objectives:
                    objective = OBJECTIVES.named(of)
                    assert issubclass(objective, ClassObjective)
                    if truth.ndim == 1:
                        metric = of_two_classes(objective.of_counts, size)
                    else:
                        assert issubclass(objective, LabelObjective)
                        metric = objective.of_labels
                    cuts = {
                        "a half": np.zeros(table.shape[1]),
                        "the best on validation labels": best_on_labels(objective, scores[known], table[known]),
                        "Tuneoff's choice": choose_cuts(metric, scores[known], table[known]),
                    }
                    for how, cut in cuts.items():
                        said = scores[unknown] > cut
                        value = _value(objective, truth[unknown], said[:, 0] if truth.ndim == 1 else said)
                        found.setdefault((title, size, of), {}).setdefault(how, []).append(100 * value)
    return found


def main() -> None:
    """Carries out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", nargs="+")
    parser.add_argument("--draws", type=int, default=12)
    asked = parser.parse_args()
    ways = ("a half", "the best on validation labels", "Tuneoff's choice")
    print(f"| data | validation texts | objective | {' | '.join(ways)} |\n|---|---|---|{'---|' * len(ways)}")
    for path in asked.data:
        frame = pd.read_parquet(path)
        x = features(asked.model, frame["text"].tolist())
        name = path.rsplit("/", 1)[-1].removesuffix(".parquet")
        for (title, size, of), by_way in sorted(
            draws(name, x, frame["label"].astype(str).to_numpy(), asked.draws).items()
        ):
            print(
                f"| {title} | {size} | {of} | {' | '.join(f'{np.mean(by_way[way]):.1f}' for way in ways)} |", flush=True
            )


if __name__ == "__main__":
    main()
