"""Data of other tasks, made of real texts: ratings as numbers, several labels a text, one class that is rare.

    python benchmarks/made_tasks.py ratings rotten_tomatoes.parquet OUT    four sentences; 1 star and one a good one
    python benchmarks/made_tasks.py topics ag_news.parquet OUT             one to three items of news; their classes
    python benchmarks/made_tasks.py rare ag_news.parquet OUT --class World --share 0.05    so many of that class, else 0
    python benchmarks/vs_trainer.py benchmarks/ratings-minilm.toml --accuracy --set data.train=OUT/train.csv …

OUT gets train.csv and test.csv. No sentence stands in two texts, nor in both splits.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SENTENCES = 4
MOST_ITEMS = 3


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["ratings", "topics", "rare"])
    parser.add_argument("source", type=Path, help="a Parquet file with the columns text, label and perhaps split")
    parser.add_argument("out", type=Path)
    parser.add_argument("--test", type=Path, help="where the file has no split: that of the test texts")
    parser.add_argument("--class", dest="rare", default="1", help="the class that is to be rare")
    parser.add_argument("--share", type=float, default=0.1, help="of the texts that are of it")
    arguments = parser.parse_args()
    source = pd.read_parquet(arguments.source)
    if arguments.test is not None:
        files = source.assign(split="train"), pd.read_parquet(arguments.test).assign(split="test")
        source = pd.concat(files, ignore_index=True)
    draw = np.random.default_rng(0)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        rows = source[source["split"] == split].sample(frac=1, random_state=0)
        if arguments.task == "rare":
            made = _rare(rows, arguments.rare, arguments.share)
        else:
            made = (_ratings if arguments.task == "ratings" else _topics)(rows, draw)
        made.to_csv(arguments.out / f"{split}.csv", index=False)
        print(f"{arguments.out / split}.csv: {len(made):,} texts")


def _ratings(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    """Each star as often as the others: sentences are drawn by how many of a text's are to be good."""
    good, bad = (rows["text"][rows["label"].astype(str) == label].tolist() for label in ("1", "0"))
    made: list[dict[str, Any]] = []
    while True:
        count = int(draw.integers(0, SENTENCES + 1))
        if len(good) < count or len(bad) < SENTENCES - count:
            return pd.DataFrame(made)
        own = [*(good.pop() for _ in range(count)), *(bad.pop() for _ in range(SENTENCES - count))]
        draw.shuffle(own)
        made.append({"text": " ".join(own), "stars": 1 + count})


def _topics(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    texts, labels = rows["text"].tolist(), rows["label"].astype(str).tolist()
    made: list[dict[str, Any]] = []
    place = 0
    while True:
        items = slice(place, place + int(draw.integers(1, MOST_ITEMS + 1)))
        if items.stop > len(texts):
            return pd.DataFrame(made)
        made.append({"text": " ".join(texts[items]), "topics": "|".join(sorted(set(labels[items])))})
        place = items.stop


def _rare(rows: pd.DataFrame, name: str, share: float) -> pd.DataFrame:
    """All texts of other classes, and so many of one that they are this share; labels are 1 for it and 0."""
    is_it = rows["label"].astype(str) == name
    kept = rows[is_it].head(round(share / (1 - share) * (~is_it).sum()))
    made = pd.concat([kept.assign(label=1), rows[~is_it].assign(label=0)]).drop_duplicates("text")
    return made[["text", "label"]].sample(frac=1, random_state=1)


if __name__ == "__main__":
    main()
