"""The 1,400 film reviews that come with tuneoff (see its data card, reviews.md)."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from tuneoff.core.files import file_hash
from tuneoff.data.formats.readers import open_files
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.source_table import SourceTable
from tuneoff.spec.data import DataSpec


class ReviewsData(DataSpec):
    """The 1,400 film reviews that come with tuneoff."""

    source: Literal["reviews"] = "reviews"
    breakdown: str | None = "kind"
    split: str | None = "split"

    def open_tables(self) -> list[SourceTable]:
        table = open_files(None, "the bundled reviews", [_path()], FormatSpec())
        return [replace(table, class_names={"label": ("negative", "positive")})]

    def fingerprint(self) -> Any:
        return file_hash(_path())


def _path() -> Path:
    return Path(str(resources.files("tuneoff.data") / "reviews.jsonl"))
