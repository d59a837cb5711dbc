"""`[data]` of a study file: what every source has, and what each has of its own."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tuneoff.core.frozen import Frozen
from tuneoff.spec.findings import AcceptableFinding

MOST_FOLDS = 100


class DataSpec(Frozen):
    """What `[data]` holds for every source."""

    source: str
    train_size: int | None = Field(default=None, gt=0, description="examples to train on; all when left out")
    validation_size: int | None = Field(
        default=None, gt=0, description="examples for validation, taken from training; about a tenth when left out"
    )
    test_size: int | None = Field(default=None, gt=0, description="examples to test on; all when left out")
    sampling: Literal["stratified", "first"] = Field(
        default="stratified", description="how train_size and test_size are met: by class at random, or the first rows"
    )
    split_seed: int = Field(default=0, ge=0, description="seed of sampling and of the validation split")
    max_length: int = Field(default=512, gt=1, description="tokens a text is cut at")
    deduplicate: bool = Field(default=False, description="drop repeated texts, and test texts that are in training")
    drop_empty: bool = Field(default=False, description="leave out rows whose text, second text or label is empty")
    drop_labels: tuple[str, ...] = Field(default=(), description='leave out rows with these labels, such as "-1"')
    accept: tuple[AcceptableFinding, ...] = Field(default=(), description="audit errors to go on with, by name")
    text: str | None = Field(default=None, description="the column of texts; found by its name when left out")
    text_pair: str | None = Field(default=None, description="the column of second texts, where an example is a pair")
    label: str | None = Field(default=None, description="the column of classes; found by its name when left out")
    breakdown: str | None = Field(default=None, description="a column by which test accuracy is also reported")
    group: str | None = Field(default=None, description="a column; rows with the same value stay in one split")
    split: str | None = Field(default=None, description="a column that says train, validation or test")
    folds: int | None = Field(
        default=None, ge=2, le=MOST_FOLDS, description="cross-validation: every example is tested in one of so many"
    )
    train_sizes: tuple[Annotated[int, Field(gt=0)], ...] | None = Field(
        default=None, min_length=1, description="a learning curve: numbers of examples to train on, ascending"
    )

    @field_validator("train_sizes")
    @classmethod
    def _ascending_sizes(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and list(value) != sorted(set(value)):
            raise ValueError("write sizes in ascending order, each once")
        return value

    @model_validator(mode="after")
    def _one_way_to_share_rows_out(self) -> DataSpec:
        asked = "folds" if self.folds is not None else "train_sizes" if self.train_sizes is not None else None
        excluded = {"folds": ("train_sizes", "test_size"), "train_sizes": ("train_size",)}
        for other in excluded.get(asked or "", ()):
            if getattr(self, other) is not None:
                raise ValueError(f"{asked} and {other} cannot be used together; leave one out")
        if self.folds is not None and self.sampling == "first":
            raise ValueError("folds are drawn by class; leave out sampling = 'first'")
        return self

    @model_validator(mode="after")
    def _groups_are_drawn(self) -> DataSpec:
        if self.group is not None and self.sampling == "first":
            raise ValueError("sampling = 'first' tears groups apart; leave out group, or take sampling = 'stratified'")
        return self


class ReviewsData(DataSpec):
    """The 1,400 film reviews that come with tuneoff."""

    source: Literal["reviews"] = "reviews"
    breakdown: str | None = "kind"
    split: str | None = "split"


class FormatSpec(Frozen):
    """`[data.format]`: how files are written, as far as their names do not say; the same for all files of a study.

    `separator`, `quoting`, `header` and `columns` are about lines of cells. Files of other kinds that stand beside
    such ones are read without them.
    """

    kind: Literal["csv", "json", "parquet", "fasttext"] | None = Field(
        default=None, description="lines of cells, JSON, Parquet, or lines of fastText; by the name's end when left out"
    )
    encoding: str = Field(default="utf-8", description="of text files, unless a byte order mark says otherwise")
    separator: str | None = Field(
        default=None, min_length=1, max_length=1, description="what parts cells; by the name's end when left out"
    )
    quoting: Literal["standard", "none"] | None = Field(
        default=None,
        description="none: a quote is a character like any other; standard when left out, where it is clear",
    )
    header: bool = Field(default=True, description="whether the first line names the columns")
    columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="names of the columns, in order, in place of those in the file"
    )

    @field_validator("encoding")
    @classmethod
    def _of_texts(cls, value: str) -> str:
        try:
            "".encode(value)  # codecs.lookup knows some that are not for texts
            return codecs.lookup(value).name
        except (LookupError, ValueError) as error:
            raise ValueError(
                "not an encoding that Python knows; write utf-8, cp1252, latin-1, shift_jis ..."
            ) from error

    @field_validator("separator")
    @classmethod
    def _between_cells(cls, value: str | None) -> str | None:
        if value is not None and (value in '"\r\n' or not (value.isprintable() or value == "\t")):
            raise ValueError("write one character, such as ';', '|' or '\\t'")
        return value

    @field_validator("columns")
    @classmethod
    def _distinct_columns(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("a name is there twice")
        return value

    @model_validator(mode="after")
    def _of_one_kind(self) -> FormatSpec:
        if self.kind in ("json", "parquet", "fasttext"):
            cells = {"separator": None, "quoting": None, "header": True, "columns": None}
            for option, usual in cells.items():
                if getattr(self, option) != usual:
                    raise ValueError(f"{option} is about lines of cells; leave it out, or set kind = 'csv'")
        return self


class FilesData(DataSpec):
    """Files of cells, JSON or Parquet, or folders that `datasets` saved; each a path or a glob pattern."""

    source: Literal["files"]
    train: str = Field(min_length=1)
    test: str | None = None
    validation: str | None = None
    format: FormatSpec = FormatSpec()

    @model_validator(mode="after")
    def _one_way_to_split(self) -> FilesData:
        if self.split and (self.test or self.validation):
            raise ValueError("give either a split column or files for test and validation, not both")
        return self


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


Data = Annotated[ReviewsData | FilesData | HubData, Field(discriminator="source")]
