"""Made-up data of every task: sentences whose words say what their labels are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from conftest import NEUTRAL, study_toml

TOPICS = {"plot": "plot", "music": "music", "actors": "actor", "scenes": "scene"}
"""Labels, and the word that stands for each."""
POINTS = {"superb": 2.0, "good": 1.0, "dull": -1.0, "awful": -2.0}
"""What each word adds to a number."""
FILLING = [word for word in NEUTRAL if word not in TOPICS.values()]


def write_labels(path: Path, rows: int, seed: int, separator: str = "|") -> None:
    """A CSV whose texts have none to all of four labels, joined by a separator."""
    draw = np.random.default_rng(seed)
    frame = []
    for row in range(rows):
        own = [label for label in TOPICS if draw.random() < 0.45]
        words = [*draw.choice(FILLING, 5), *(TOPICS[label] for label in own), f"{path.stem}{row}"]
        draw.shuffle(words)
        frame.append({"text": " ".join(words), "topics": separator.join(own)})
    pd.DataFrame(frame).to_csv(path, index=False)


def write_numbers(path: Path, rows: int, seed: int) -> None:
    """A CSV whose texts have a number of stars, which their words make up, but for some noise."""
    draw = np.random.default_rng(seed)
    frame = []
    for row in range(rows):
        said = draw.choice(list(POINTS), draw.integers(0, 4))
        words = [*draw.choice(FILLING, 5), *said, f"{path.stem}{row}"]
        draw.shuffle(words)
        stars = 30 + 10 * sum(POINTS[word] for word in said) + draw.normal(0, 1)
        frame.append({"text": " ".join(words), "stars": round(float(stars), 2)})
    pd.DataFrame(frame).to_csv(path, index=False)


def write_study(folder: Path, model: Path, data: str, arms: list[str], top: str = "", **settings: object) -> Path:
    """A study file over train.csv and test.csv of its folder, with more lines in `[data]`."""
    toml = study_toml(model, folder, arms, **{"epochs": 8, **settings})  # type: ignore[arg-type]
    path = folder / "study.toml"
    path.write_text(top + toml.replace("[data]\n", f"[data]\n{data}\n"))
    return path
