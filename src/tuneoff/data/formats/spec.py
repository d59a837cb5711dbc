"""`[data.format]` of a study file: how files are written."""

from __future__ import annotations

import codecs
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tuneoff.core.frozen import Frozen


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
