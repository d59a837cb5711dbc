"""`Predictor` against `transformers.pipeline("text-classification")` at its best batch size: the same model and texts.

    python benchmarks/vs_pipeline.py studies-out/NAME/runs/full-seed0-0123456789/model reviews.parquet
    python benchmarks/vs_pipeline.py MODEL reviews.csv --rows 20000 --batch-sizes 8,32,128,512

MODEL is a folder that holds all of its weights. All is measured in one process, on the GPU where there is one. First
the pipeline tries every batch size once; then its best one and Tuneoff take turns. Loading is not counted, all else is:
tokenising, computing, labels with probabilities. Texts are an even sample of the file's, in its order.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuneoff.serving.predictor import Predictor

    Labels = list[str]
    Label = Callable[[], Labels]

PRECISIONS = ("fp32", "bf16")


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--text", help="the column of texts")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--batch-sizes", default="1,2,4,8,16,32,64")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="on a CPU; all cores when left out")
    arguments = parser.parse_args()

    os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as `tuneoff predict` does, read when PyTorch is imported

    import torch

    from tuneoff.measure.environment import processor, usable_cores
    from tuneoff.serving.predictor import load
    from tuneoff.training.cpu import settle_on_cpu

    threads = arguments.threads or usable_cores()
    predictors = {precision: load(arguments.model, precision=precision) for precision in PRECISIONS}
    device = predictors["fp32"].device
    if device.type == "cpu":
        settle_on_cpu(threads)  # likewise; the pipeline profits as well
    texts = _sample(predictors["fp32"], arguments.file, arguments.text, arguments.rows)
    lengths = predictors["fp32"].tokenise(texts)[""].lengths
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor()}, {threads} threads"
    print(
        f"{len(texts):,} texts of {lengths.min()} to {lengths.max()} tokens, {lengths.mean():.0f} on average; {where}"
    )
    ways: dict[str, Label] = {}
    for precision in PRECISIONS:
        pipeline = _pipeline(arguments.model, precision, device, predictors["fp32"])
        tried = {}
        for size in map(int, arguments.batch_sizes.split(",")):
            tried[size], _ = _timed(pipeline(texts, size))
            print(f"pipeline {precision}, batch size {size}: {len(texts) / tried[size]:,.0f} texts/s", flush=True)
        best = min(tried, key=lambda size: tried[size])
        ways[f"pipeline {precision}, batch size {best}"] = pipeline(texts, best)
    for precision, predictor in predictors.items():
        ways[f"tuneoff {precision}"] = _labelling(predictor, texts)
    found: dict[str, list[float]] = {name: [] for name in ways}
    labels: dict[str, Labels] = {}
    for _ in range(arguments.repeats):
        for name, label in ways.items():
            seconds, labels[name] = _timed(label)
            found[name].append(seconds)
    reference, *_ = labels.values()
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    fastest = min(seconds for name, seconds in medians.items() if name.startswith("pipeline"))
    fp32 = next(iter(medians.values()))
    print("\n| | texts/s | fastest to slowest | times pipeline fp32 | times the faster pipeline | other labels |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, seconds in medians.items():
        rates = [len(texts) / each for each in (seconds, min(found[name]), max(found[name]))]
        other = sum(one != two for one, two in zip(labels[name], reference, strict=True))
        print(
            f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} to {rates[2]:,.0f} | {fp32 / seconds:.2f} | "
            f"{fastest / seconds:.2f} | {other} |"
        )


def _sample(predictor: Predictor, file: str, text: str | None, most: int) -> list[str]:
    from tuneoff.serving.text_rows import rows_of_file

    rows = rows_of_file(file, [saved.texts for saved in predictor.saved.values()], text, None)
    found = [value for table in rows.table.tables() for value in table.column(rows.text).to_pylist() if value]
    return [found[row] for row in np.linspace(0, len(found) - 1, min(most, len(found))).astype(int)]


def _pipeline(folder: str, precision: str, device: Any, predictor: Predictor) -> Callable[[list[str], int], Label]:
    import torch
    from transformers import pipeline
    from transformers.utils import logging

    logging.set_verbosity_error()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    made = pipeline("text-classification", model=folder, tokenizer=folder, device=device, dtype=dtype)
    (saved,) = predictor.saved.values()

    def label(texts: list[str], batch_size: int) -> Label:
        def run() -> Labels:
            options = {"batch_size": batch_size, "truncation": True, "max_length": saved.texts.max_length}
            labels = [answer["label"] for answer in made(texts, **options)]
            # It sets this for its own loader, for good, and would have Tuneoff tokenise with one core as well.
            os.environ.pop("TOKENIZERS_PARALLELISM", None)
            return labels

        return run

    return label


def _labelling(predictor: Predictor, texts: list[str]) -> Label:
    return lambda: [str(answer.label) for answer in predictor.predict(texts)]


def _timed(label: Label) -> tuple[float, Labels]:
    start = time.perf_counter()
    labels = label()
    return time.perf_counter() - start, labels


if __name__ == "__main__":
    main()
