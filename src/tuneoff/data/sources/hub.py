"""Datasets of the Hugging Face Hub."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tuneoff.core import hub
from tuneoff.data.formats.saved import dataset_table
from tuneoff.data.source_table import SourceTable
from tuneoff.spec.data import DataSpec


class HubData(DataSpec):
    """A dataset of the Hugging Face Hub."""

    source: Literal["hub"]
    id: str = Field(min_length=1)
    config: str | None = None
    revision: str | None = None
    train: str = "train"
    test: str | None = Field(default=None, description="test when left out; none with folds")
    validation: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _usual_test_split(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("folds") is None:
            return {"test": "test", **value}
        return value

    def open_tables(self) -> list[SourceTable]:
        dataset = hub.fetch_dataset(self.id, self.config, self.revision)
        if self.split is not None:
            return [dataset_table(dataset, self.id, self.train, None)]
        asked = {"train": self.train, "validation": self.validation, "test": self.test}
        return [dataset_table(dataset, self.id, name, split) for split, name in asked.items() if name]

    def fingerprint(self) -> Any:
        """What is asked for, which stands for the content where `revision` is a commit (`tuneoff.study.pins`).

        A branch or tag may move, and no revision means a branch; the fingerprint stays the same then.
        """
        return [self.id, self.config, self.revision]
