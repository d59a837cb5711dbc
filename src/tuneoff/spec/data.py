"""`[data]` of a study file: a data source with its options, which also says how it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tuneoff.core.frozen import Frozen
from tuneoff.core.long_texts import LongTexts
from tuneoff.core.names import meant_by
from tuneoff.core.registry import Registry
from tuneoff.spec.findings import AcceptableFinding

if TYPE_CHECKING:
    from tuneoff.data.source_table import SourceTable
    from tuneoff.tasks.base import Task

MOST_FOLDS = 100


TASKS: Registry[Task] = Registry("tuneoff.tasks", "tuneoff.tasks.base.Task", "task")


def _known_task(name: str) -> str:
    TASKS.named(name)
    return name


class DataSpec(Frozen):
    """The data of a study: one data source with its options.

    A source is a subclass in one file of `tuneoff.data.sources`, or of another package, which names it as an entry
    point of the group `tuneoff.data_sources`. It names the source, declares its options as fields, and implements
    `open_tables` and `fingerprint`. Nothing else needs to be edited.
    """

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
    max_length: int = Field(default=512, gt=1, description="tokens that are read of a text at once")
    long_texts: LongTexts = Field(
        default="head", description="what is read of longer texts; windows: all, with the mean (or max) of their logits"
    )
    deduplicate: bool = Field(default=False, description="drop repeated texts, and test texts that are in training")
    drop_empty: bool = Field(default=False, description="leave out rows whose text, second text or label is empty")
    drop_labels: tuple[str, ...] = Field(default=(), description='leave out rows with these labels, such as "-1"')
    accept: tuple[AcceptableFinding, ...] = Field(default=(), description="audit errors to go on with, by name")
    text: str | None = Field(default=None, description="the column of texts; found by its name when left out")
    text_pair: str | None = Field(default=None, description="the column of second texts, where an example is a pair")
    task: Annotated[str, AfterValidator(_known_task)] = Field(
        default="single_label", description="what a label is: one class, several labels, or a number to predict"
    )
    label: str | tuple[str, ...] | None = Field(
        default=None,
        description="the column of labels, found by its name when left out; of several labels also a list of columns "
        "that say 1 or 0",
    )
    label_separator: str | None = Field(
        default=None, min_length=1, description="what stands between several labels in one text; found when left out"
    )
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
    def _labels_of_a_task(self) -> DataSpec:
        columns = self.label_columns
        if TASKS.named(self.task).kind != "labels" and (columns or self.label_separator is not None):
            named = "a list of columns as label" if columns else "label_separator"
            raise ValueError(f"{named} is for several labels an example; set task = 'multi_label', or leave it out")
        if isinstance(self.label, tuple) and (len(columns) < 2 or len(set(columns)) < len(columns)):
            raise ValueError("label as a list names at least two columns, each once")
        return self

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that say which of several labels a row has; none where one column holds them."""
        return self.label if isinstance(self.label, tuple) else ()

    @model_validator(mode="after")
    def _groups_are_drawn(self) -> DataSpec:
        if self.group is not None and self.sampling == "first":
            raise ValueError("sampling = 'first' tears groups apart; leave out group, or take sampling = 'stratified'")
        return self

    @classmethod
    def registered_name(cls) -> str | None:
        """What `source` calls it; None of what several sources share."""
        named = get_args(cls.model_fields["source"].annotation)
        return named[0] if named else None

    def open_tables(self) -> list[SourceTable]:
        """The tables that hold the rows, the one to train on first.

        Raises:
            UserError: where one is missing or unreadable; also while its rows are read.
        """
        raise NotImplementedError

    def fingerprint(self) -> Any:
        """A JSON value that changes when the content does, and is cheaper than reading it.

        Data is prepared again where it differs from what it was. A source that cannot see its content change has to be
        asked for by what cannot change, such as the commit of a repository.
        """
        raise NotImplementedError


DATA_SOURCES: Registry[DataSpec] = Registry(
    "tuneoff.data.sources", "tuneoff.spec.data.DataSpec", "data source", group="tuneoff.data_sources"
)
UNKNOWN_SOURCE = "unknown_source"
"""The type of the error where `source` is missing or names none."""


def source_of(table: Any) -> type[DataSpec] | None:
    """The data source that a table of `[data]` names, which need not be right otherwise; None where it names none."""
    name = table.get("source") if isinstance(table, dict) else None
    return DATA_SOURCES.classes().get(name) if isinstance(name, str) else None


def _known_source(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    source = source_of(value)
    if source is None:
        *others, last = (f"'{name}'" for name in sorted(DATA_SOURCES.classes(), key=len))  # short words first
        known = f"{', '.join(others)} or {last}{meant_by('source', value)}"
        raise PydanticCustomError(UNKNOWN_SOURCE, "source must be {known}", {"known": known})
    return source.model_validate(value)


Data = Annotated[SerializeAsAny[DataSpec], BeforeValidator(_known_source)]
