"""The 1,400 film reviews that come with tuneoff (see its data card, reviews.md)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from tuneoff.data.sources import RawData, by_split_column, select_columns
from tuneoff.files import file_hash
from tuneoff.spec import ReviewsData


def load(spec: ReviewsData) -> RawData:
    import pandas as pd

    frame = pd.read_json(_path(), lines=True)
    columns = select_columns(frame, "the bundled reviews", "text", "label", spec.breakdown)
    return by_split_column(columns, frame["split"], "the bundled reviews")


def fingerprint(_spec: ReviewsData) -> Any:
    return file_hash(_path())


def _path() -> Path:
    return Path(str(resources.files("tuneoff.data") / "reviews.jsonl"))
