"""Labels that are worth a look: wrong ones put into tiny studies are found, and told of wherever results are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conftest import Command, reviews, study_toml
from tuneoff.analysis.statistics import NONE, called_wrong

ARMS = [
    'method = "full"\nlearning_rate = 2e-3',
    'method = "full"\nname = "slow"\nlearning_rate = 1.5e-3',
    'method = "head_only"\nlearning_rate = 1e-9',
]
FOLDS = 2
WRONG = (4, 11, 30)
"""Rows whose labels are turned round, from 0."""


@pytest.mark.long
def test_wrong_labels_are_listed_told_of_and_kept(tiny_model: Path, tuneoff: Command, tmp_path: Path) -> None:
    given = reviews(320, seed=1)
    given.loc[list(WRONG), "label"] = 1 - given.loc[list(WRONG), "label"]
    given["label"] = given["label"].map({0: "bad, or *dull*", 1: "good"})
    given.to_csv(tmp_path / "train.csv", index=False)
    toml = study_toml(tiny_model, tmp_path, ARMS, seeds=1, epochs=4)
    (tmp_path / "study.toml").write_text(toml.replace(f'test = "{tmp_path / "test.csv"}"', f"folds = {FOLDS}"))
    answer = tuneoff("run", "study.toml", "--out", "out")
    assert answer.returncode == 0, answer.stderr
    out = tmp_path / "out"
    listed = pd.read_csv(out / "label-issues.csv")
    assert {row + 1 for row in WRONG} <= set(listed["row"])
    assert len(listed) <= 2 * len(WRONG)
    folds = [pd.read_parquet(out / "data" / f"fold-{fold}" / "test.parquet") for fold in range(FOLDS)]
    for _, issue in listed.iterrows():
        row = given.loc[issue["row"] - 1]
        assert (issue["text"], issue["label"]) == (row["text"], row["label"])
        assert issue["arms_say"] != issue["label"]
        assert Path(issue["file"]).name == "train.csv"
        assert issue["text"] in set(folds[int(issue["split"].removeprefix("fold-"))]["text"])
    surer = listed["arms_say_probability"] - listed["label_probability"]
    assert surer.is_monotonic_decreasing
    assert (surer > 0).all()

    check = json.loads((out / "summary.json").read_text())["label_check"]
    assert check == {"arms": ["full", "slow"], "examples": 320, "listed": len(listed)}, "head_only did not learn"
    said = f"Both arms that learned call the labels of {len(listed)} of 320 test examples wrong with confidence"
    page, markdown = ((out / name).read_text() for name in ("report.html", "report.md"))
    for text in (answer.stdout, page, markdown):
        assert said in " ".join(text.split())
    assert f"labels    {Path('out') / 'label-issues.csv'}" in answer.stdout
    assert "## Labels to check" in markdown
    assert r"labelled bad, or \*dull\* (" in markdown

    (out / "label-issues.csv").unlink()
    assert said in " ".join(tuneoff("report", "out").stdout.split())
    pd.testing.assert_frame_equal(pd.read_csv(out / "label-issues.csv"), listed)


def test_the_rule() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    of_first = np.array([0.9, 0.8, 0.1, 0.7, 0.9, 0.2, 0.8])  # the probability of the label, of two classes
    of_second = np.array([0.9, 0.7, 0.2, 0.8, 0.9, 0.6, 0.9])
    first, second = (
        np.stack([np.where(labels == 0, p, 1 - p), np.where(labels == 1, p, 1 - p)], axis=1)
        for p in (of_first, of_second)
    )
    assert called_wrong(labels, first[None]).tolist() == [NONE, NONE, 1, NONE, NONE, 0, NONE]
    assert called_wrong(labels, np.stack([first, second])).tolist() == [NONE, NONE, 1, NONE, NONE, NONE, NONE]
    unsure = second.copy()
    unsure[2] = [0.45, 0.55]  # against the label, but below what it gives class 1 where that is the label
    assert (called_wrong(labels, np.stack([first, unsure])) == NONE).all()
    three = np.pad(first, ((0, 0), (0, 1)))
    three[2] = [0.0, 0.05, 0.95]  # a class that is nobody's label
    assert called_wrong(labels, three[None])[2] == NONE
