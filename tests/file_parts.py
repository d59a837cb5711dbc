"""What the tests of files share: made-up rows, an empty folder for them, and what `init` and the audit say of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tuneoff.data.collect import collect_rows
from tuneoff.data.sources.files import FilesData
from tuneoff.data.splits import Splits, make_splits
from tuneoff.spec import load_study
from tuneoff.study.init import init_study

WORDS = ("river", "stone", "lamp", "paper", "green", "slow", "north", "bread", "cloud", "wheel", "quiet", "glass")
TEAMS = ("billing", "hardware", "login")


@pytest.fixture(autouse=True)
def in_an_empty_folder_on_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """On one thread, because several wait for each other at baselines of 90 rows."""
    monkeypatch.chdir(tmp_path)
    with threadpool_limits(1):
        yield


def sentences(count: int = 90, seed: int = 5) -> list[str]:
    draw = random.Random(seed)
    return [" ".join([*draw.choices(WORDS, k=draw.randint(4, 9)), str(row)]) for row in range(count)]


def labelled(count: int = 90) -> list[tuple[str, str]]:
    draw = random.Random(1)
    return [(text, draw.choice(TEAMS)) for text in sentences(count)]


def lines(template: str, count: int = 90) -> str:
    """One line an example, with `{text}`, `{label}` and `{row}` in it."""
    rows = enumerate(labelled(count))
    return "".join(template.format(text=text, label=label, row=row) + "\n" for row, (text, label) in rows)


Content = str | bytes


def put(name: str, content: Content) -> str:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def init(
    *data: str, model: Path | str = "some/model", out: str = "study.toml", label: str | None = None
) -> tuple[FilesData, str]:
    """`[data]` of the study that `init` writes, and all that it said and wrote."""
    said: list[str] = []
    path = init_study(data, str(model), Path(out), said.append, label=label)
    spec = load_study(path).data
    assert isinstance(spec, FilesData)
    return spec, "\n".join([*said, path.read_text()])


def split(train: str, **options: Any) -> Splits:
    spec = FilesData(source="files", train=train, **options)
    return make_splits(collect_rows(spec.open_tables(), spec, Path(), lambda _: None), spec)


def table(**columns: Any) -> str:
    pd.DataFrame({"body": sentences(), **columns}).to_csv("data.csv", index=False)
    return "data.csv"


def teams() -> list[str]:
    return [label for _, label in labelled()]


def audited(train: str, **options: Any) -> dict[str, Any]:
    """Findings by name, without what needs a model."""
    from tuneoff.data.audit import audit

    return {finding.name: finding for finding in audit(split(train, **options))}
