"""What the tests of the audit share: frames and files as tables, splits of them, made-up texts, findings by name."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tuneoff.data.collect import collect_rows
from tuneoff.data.source_table import BATCH_ROWS, SourceTable
from tuneoff.data.sources.files import FilesData
from tuneoff.data.splits import Splits, make_splits
from tuneoff.records.finding import Finding

TOPICS = ("sport", "music", "travel", "food", "money")


def table_of(frame: pd.DataFrame, split: str | None, where: str = "a frame") -> SourceTable:
    def tables() -> Iterator[pa.Table]:
        for start in range(0, len(frame), BATCH_ROWS):
            yield pa.Table.from_pandas(frame.iloc[start : start + BATCH_ROWS], preserve_index=False)

    return SourceTable(split, where, tuple(frame.columns), tables)


def table_of_file(path: Path, split: str | None) -> SourceTable:
    def tables() -> Iterator[pa.Table]:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    return SourceTable(split, path.name, tuple(pq.read_schema(path).names), tables)


def split_up(tables: Sequence[SourceTable], folder: Path, **options: Any) -> Splits:
    spec = FilesData.model_validate({"source": "files", "train": "-", **options})
    return make_splits(collect_rows(tables, spec, folder, lambda _: None), spec)


def split_frames(folder: Path, train: pd.DataFrame, test: pd.DataFrame | None = None, **options: Any) -> Splits:
    tables = [table_of(train, "train"), *([] if test is None else [table_of(test, "test")])]
    return split_up(tables, folder, **options)


def by_name(findings: Sequence[Finding], name: str) -> dict[str, Finding]:
    return {finding.split: finding for finding in findings if finding.name == name}


def errors(findings: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.severity == "error"]


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


def topics(count: int, seed: int) -> pd.DataFrame:
    """Texts of five topics of uneven size, which their words favour but do not decide."""
    draw = random.Random(seed)
    rows = []
    for row in range(count):
        label = draw.choices(range(5), weights=[8, 4, 2, 1, 1])[0]
        words = [f"w{draw.choice((label, draw.randrange(5)))}{draw.randrange(40)}" for _ in range(draw.randint(8, 40))]
        rows.append({"text": " ".join([*words, str(row)]), "label": TOPICS[label]})
    return pd.DataFrame(rows)


def leaking(kind: str, count: int = 600) -> pd.DataFrame:
    """Texts whose words say nothing of their labels, except for one leak."""
    draw = random.Random(kind)
    rows = []
    for row in range(count):
        label = ("no", "yes")[draw.random() < 0.4]
        words = draw.choices([f"w{index}" for index in range(200)], k=draw.randint(10, 40))
        if kind == "leak-length":
            words = words[:9] if label == "yes" else [*words, *words[:10]]
        if kind == "leak-first-token":
            words = [f"{'AB'[label == 'yes']}{row % 7}", *words, f"A{draw.randrange(7)}", f"B{draw.randrange(7)}"]
        if kind == "leak-single-word" and label == "yes":
            words.insert(draw.randrange(len(words)), "Marked!")
        rows.append({"text": " ".join(words), "label": label})
    frame = pd.DataFrame(rows)
    return frame.sort_values("label", ignore_index=True) if kind == "leak-row-order" else frame
