"""Which columns of a source hold what: as the study names them, or by the names that such columns usually have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.names import nearest
from tuneoff.core.texts import in_line
from tuneoff.data.conventions import LABELS, PAIRS, TEXTS
from tuneoff.data.formats.nested import BETWEEN

if TYPE_CHECKING:
    from tuneoff.data.source_table import SourceTable
    from tuneoff.spec import DataSpec


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are used; those that are not asked for are None.

    `label` is what the labels are called; where several columns say which of several labels a row has, these are
    `label_columns`, which is empty otherwise.
    """

    text: str
    label: str
    text_pair: str | None
    breakdown: str | None
    group: str | None
    split: str | None
    label_columns: tuple[str, ...] = ()

    @property
    def used(self) -> list[str]:
        """All of them, each once."""
        labels = self.label_columns or (self.label,)
        names = (self.text, *labels, self.text_pair, self.breakdown, self.group, self.split)
        return list(dict.fromkeys(name for name in names if name is not None))


def choose_columns(source: SourceTable, spec: DataSpec) -> Columns:
    """Finds the columns that `[data]` names, and text and label by convention where it names none.

    Raises:
        UserError: where a column is not there, is there twice, or none has a usual name.
    """
    for option in ("text", "text_pair", "breakdown", "group", "split"):
        check_column(source, f"data.{option}", getattr(spec, option))
    for label in spec.label_columns or (spec.label,):
        assert not isinstance(label, tuple)
        check_column(source, "data.label", label)
    text, pair = spec.text, spec.text_pair
    if text is None:
        text, pair = _usual_texts(source, pair)
    several = spec.label_columns
    label = ", ".join(several) or spec.label
    if not isinstance(label, str):
        label = _usual(source, LABELS, "label", "holds the labels")
    columns = Columns(text, label, pair, spec.breakdown, spec.group, spec.split, several)
    for name in columns.used:
        if source.columns.count(name) > 1:
            cure = "name all columns with data.format.columns" if source.header else "rename one"
            raise UserError(f"{source.where}: there are {source.columns.count(name)} columns called '{name}'; {cure}")
    if pair in (several or (label,)):
        raise UserError(
            f"{source.where}: the column '{pair}' cannot be both data.text_pair and data.label; set another"
        )
    if text == pair or text in (several or (label,)):
        other, option = ("pair", "text_pair") if text == pair else ("label", "label")
        raise UserError(
            f"{source.where}: the column '{text}' cannot be both text and {other}; set data.text and data.{option}"
        )
    return columns


def check_column(source: SourceTable, option: str, name: str | None) -> None:
    """Makes sure that a column that an option names is there.

    Raises:
        UserError: where it is not.
    """
    if name is not None and name not in source.columns:
        near = nearest(name, source.columns)
        meant = f"; did you mean '{near}'?" if near is not None else ""
        raise UserError(
            f"{source.where}: there is no column '{name}' ({option}); its columns are {in_line(source.columns)}{meant}"
            f"{_no_header(source)}"
        )


def _no_header(source: SourceTable) -> str:
    from tuneoff.data.headers import no_header  # which knows the names that are usual here

    return no_header(source.columns) if source.header else ""


def _usual_texts(source: SourceTable, pair: str | None) -> tuple[str, str | None]:
    if pair is None:
        for first, second in PAIRS:
            found = [find_named(source.columns, name) for name in (first, second)]
            if found[0] is not None and found[1] is not None:
                return found[0], found[1]
    return _usual(source, TEXTS, "text", "holds the texts"), pair


def _usual(source: SourceTable, names: Sequence[str], option: str, purpose: str) -> str:
    for name in names:
        found = find_named(source.columns, name)
        if found is not None:
            return found
    known = in_line(source.columns)
    raise UserError(
        f"{source.where}: none of its columns ({known}) has a usual name; say with data.{option} which {purpose}"
        f"{_no_header(source)}"
    )


def find_named(columns: Sequence[str], name: str) -> str | None:
    """The first column of that name, without regard to case; or else the one that is called so inside another."""
    found = next((column for column in columns if column.lower() == name), None)
    inside = [column for column in columns if BETWEEN in column and column.lower().rpartition(BETWEEN)[2] == name]
    return inside[0] if found is None and len(inside) == 1 else found
