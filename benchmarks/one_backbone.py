"""Memory of several saved models in one process: their base model once, against each by itself.

    python benchmarks/one_backbone.py studies-out/NAME/runs/lora-seed0-0123456789/model --copies 1,2,4,8

The same folder stands for several tasks. Every measurement has a fresh process. `tensors` are the distinct bytes of all
parameters and buffers; `resident` is what the process gained by loading, on a CPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor


def measure(folder: str, copies: int, together: bool) -> tuple[int, int]:
    """Bytes of tensors, and bytes that the process gained, for so many models of a folder."""
    import psutil
    import torch

    from tuneoff.serving.predictor import load

    load(folder, device="cpu")  # so that libraries are in memory
    before = psutil.Process().memory_info().rss
    names = [str(copy) for copy in range(copies)]
    if together:
        made = [load(dict.fromkeys(names, folder), device="cpu")]
    else:
        made = [load({name: folder}, device="cpu") for name in names]
    gained = psutil.Process().memory_info().rss - before
    storages: dict[int, int] = {}
    for predictor in made:
        for model in predictor._models.values():
            held = model._engine.model
            tensors: list[torch.Tensor] = [*held.parameters(), *held.buffers()]
            storages |= {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values()), gained


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--copies", default="1,2,4,8")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for copies in map(int, arguments.copies.split(",")):
        for together in (True, False):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                tensors, gained = pool.submit(measure, arguments.model, copies, together).result()
            rows.append({"models": copies, "together": together, "tensors": tensors, "resident": gained})
    if arguments.json:
        print(json.dumps(rows))
        return
    print("| models | loaded | tensors | resident |\n| --- | --- | --- | --- |")
    for row in rows:
        how = "together" if row["together"] else "one by one"
        print(f"| {row['models']} | {how} | {row['tensors'] / 1e6:.1f} MB | {row['resident'] / 1e6:.1f} MB |")


if __name__ == "__main__":
    main()
