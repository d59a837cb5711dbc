"""Every method on one dataset, tuned on equal terms, and how far each stays behind full fine-tuning.

python benchmarks/every_method.py write STUDY.toml --model DIR --train rotten_tomatoes.parquet --split split
tuneoff run STUDY.toml                           and the same for other data; `execution.workers` as the GPU bears
python benchmarks/every_method.py table FOLDER…  the table of docs/results.md, from the folders of such studies
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tomli_w

import tuneoff
from tuneoff.records.arm_summary import ScoredArm
from tuneoff.spec.arms import METHODS
from tuneoff.study.methods_on import methods_on

BEHIND = 4.0
"""Points behind full fine-tuning that a method may be."""


def main() -> int:
    """Carries out the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    write = commands.add_parser("write")
    write.add_argument("study", type=Path)
    write.add_argument("--model", required=True)
    write.add_argument("--train", type=Path, required=True)
    write.add_argument("--test", type=Path, help="a file of its own")
    write.add_argument("--split", help="or the column that says which split a row is of")
    write.add_argument("--train-size", type=int)
    write.add_argument("--max-length", type=int, default=64)
    write.add_argument("--seeds", type=int, default=3)
    write.set_defaults(command=write_study)
    table = commands.add_parser("table")
    table.add_argument("folders", type=Path, nargs="+")
    table.set_defaults(command=print_table)
    arguments = parser.parse_args()
    arguments.command(arguments)
    return 0


def write_study(arguments: argparse.Namespace) -> None:
    """A study file with an arm of each method that the model can be trained with; says which it cannot."""
    methods = methods_on(arguments.model, 2, METHODS.classes())
    for method in methods:
        if method.why_not is not None:
            print(f"{arguments.study.name}: without {method.method}: {method.why_not}")
    data: dict[str, str | int | bool] = {
        "source": "files",
        "train": str(arguments.train.absolute()),
        "max_length": arguments.max_length,
        "deduplicate": True,
    }
    if arguments.test:
        data["test"] = str(arguments.test.absolute())
    if arguments.split:
        data["split"] = arguments.split
    if arguments.train_size:
        data["train_size"] = arguments.train_size
    study = {
        "name": arguments.study.stem,
        "seeds": arguments.seeds,
        "model": {"id": arguments.model},
        "data": data,
        "training": {"epochs": 3, "batch_size": 16},
        "execution": {"cores": 1},
        "arms": [{"method": method.method} for method in methods if method.why_not is None],
    }
    arguments.study.write_text(tomli_w.dumps(study))


def print_table(arguments: argparse.Namespace) -> None:
    """Markdown: a row for each method, by how far it is behind full over all studies."""
    studies = [tuneoff.load_results(folder) for folder in arguments.folders]
    scored = [{arm.method: arm for arm in study.summary.arms if isinstance(arm, ScoredArm)} for study in studies]
    full = [arms["full"].test_score.mean for arms in scored]

    def gaps(method: str) -> list[float | None]:
        return [
            100 * (arms[method].test_score.mean - best) if method in arms else None
            for arms, best in zip(scored, full, strict=True)
        ]

    def order(method: str) -> float:
        there = [gap for gap in gaps(method) if gap is not None]
        return -sum(there) / len(there) if there else float("inf")

    print("| method | " + " | ".join(f"{study.spec.name}: rate | seeds | mean | behind" for study in studies) + " |")
    print("| --- |" + " ---: | --- | ---: | ---: |" * len(studies))
    for method in sorted({method for arms in scored for method in arms}, key=order):
        cells = [method]
        for arms, gap in zip(scored, gaps(method), strict=True):
            if method not in arms or gap is None:
                cells += ["", "", "", ""]
                continue
            arm = arms[method]
            learned = " †" if arm.learning is not None and arm.learning.not_learned else ""
            cells += [
                f"{arm.learning_rate:.2g}" if arm.learning_rate else "",
                " ".join(f"{100 * accuracy:.1f}" for accuracy in arm.test_scores),
                f"{100 * arm.test_score.mean:.1f}{learned}",
                f"**{gap:+.1f}**" if gap < -BEHIND else f"{gap:+.1f}",
            ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    raise SystemExit(main())
