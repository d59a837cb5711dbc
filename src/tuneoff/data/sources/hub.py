"""Datasets of the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuneoff import hub
from tuneoff.data.sources import RawData, select_columns
from tuneoff.errors import UserError
from tuneoff.spec import HubData

if TYPE_CHECKING:
    import pandas as pd


def load(spec: HubData) -> RawData:
    dataset = hub.fetch_dataset(spec.id, spec.config, spec.revision)

    def part(split: str) -> pd.DataFrame:
        where = f"{spec.id} ({split})"
        if split not in dataset:
            raise UserError(f"the dataset '{spec.id}' has no split '{split}'; it has {', '.join(dataset)}")
        return select_columns(dataset[split].to_pandas(), where, spec.text, spec.label, spec.breakdown)

    return RawData(part(spec.train), part(spec.validation) if spec.validation else None, part(spec.test))


def fingerprint(spec: HubData) -> Any:
    return [spec.id, spec.config, spec.revision]
