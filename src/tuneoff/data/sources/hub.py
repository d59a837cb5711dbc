"""Datasets of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.data.sources import BATCH_ROWS, Part
from tuneoff.spec.data import HubData

if TYPE_CHECKING:
    import pyarrow as pa


def open_parts(spec: HubData) -> list[Part]:
    dataset = hub.fetch_dataset(spec.id, spec.config, spec.revision)
    if spec.split is not None:
        return [dataset_part(dataset, spec.id, spec.train, None)]
    asked = {"train": spec.train, "validation": spec.validation, "test": spec.test}
    return [dataset_part(dataset, spec.id, name, split) for split, name in asked.items() if name]


def fingerprint(spec: HubData) -> Any:
    return [spec.id, spec.config, spec.revision]


def dataset_part(datasets: Any, where: str, name: str, split: str | None) -> Part:
    """A split of a `datasets.DatasetDict`; its rows are read from disk as they are asked for.

    Raises:
        UserError: where there is no such split.
    """
    if name not in datasets:
        raise UserError(f"the dataset '{where}' has no split '{name}'; it has {', '.join(datasets)}")
    dataset = datasets[name].flatten()  # so that what is inside of other columns is one

    def tables() -> Iterator[pa.Table]:
        yield from dataset.with_format("arrow").iter(BATCH_ROWS)

    named = {column: getattr(kind, "names", None) for column, kind in dataset.features.items()}
    class_names = {column: tuple(names) for column, names in named.items() if names}
    return Part(split, f"{where} ({name})", tuple(dataset.column_names), tables, class_names)
