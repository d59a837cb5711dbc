"""The 1,400 film reviews that come with tuneoff (see its data card, reviews.md)."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from tuneoff.core.files import file_hash
from tuneoff.data.sources import Part
from tuneoff.data.sources.files import open_files
from tuneoff.spec.data import FormatSpec, ReviewsData


def open_parts(spec: ReviewsData) -> list[Part]:
    part = open_files(None, "the bundled reviews", [_path()], FormatSpec())
    return [replace(part, class_names={"label": ("negative", "positive")})]


def fingerprint(_spec: ReviewsData) -> Any:
    return file_hash(_path())


def _path() -> Path:
    return Path(str(resources.files("tuneoff.data") / "reviews.jsonl"))
