"""Which columns of a source hold what: as the study names them, or by the names that such columns usually have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.names import nearest
from tuneoff.core.texts import in_line
from tuneoff.data.conventions import LABELS, PAIRS, TEXTS
from tuneoff.data.sources.nested import BETWEEN

if TYPE_CHECKING:
    from tuneoff.data.sources import Part
    from tuneoff.spec import DataSpec


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are used; those that are not asked for are None."""

    text: str
    label: str
    text_pair: str | None
    breakdown: str | None
    group: str | None
    split: str | None

    @property
    def used(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys(name for name in vars(self).values() if name is not None))


def choose_columns(part: Part, spec: DataSpec) -> Columns:
    """Finds the columns that `[data]` names, and text and label by convention where it names none.

    Raises:
        UserError: where a column is not there, is there twice, or none has a usual name.
    """
    for option in ("text", "text_pair", "label", "breakdown", "group", "split"):
        check_column(part, f"data.{option}", getattr(spec, option))
    text, pair = spec.text, spec.text_pair
    if text is None:
        text, pair = _usual_texts(part, pair)
    label = spec.label or _usual(part, LABELS, "label", "holds the classes")
    columns = Columns(text, label, pair, spec.breakdown, spec.group, spec.split)
    for name in columns.used:
        if part.columns.count(name) > 1:
            cure = "name all columns with data.format.columns" if part.header else "rename one"
            raise UserError(f"{part.where}: there are {part.columns.count(name)} columns called '{name}'; {cure}")
    if pair == label:
        raise UserError(f"{part.where}: the column '{pair}' cannot be both data.text_pair and data.label; set another")
    if text in (label, pair):
        raise UserError(
            f"{part.where}: the column '{text}' cannot be both text and {'label' if text == label else 'pair'}; set "
            f"data.text and data.{'label' if text == label else 'text_pair'}"
        )
    return columns


def check_column(part: Part, option: str, name: str | None) -> None:
    """Makes sure that a column that an option names is there.

    Raises:
        UserError: where it is not.
    """
    if name is not None and name not in part.columns:
        near = nearest(name, part.columns)
        meant = f"; did you mean '{near}'?" if near is not None else ""
        raise UserError(
            f"{part.where}: there is no column '{name}' ({option}); its columns are {in_line(part.columns)}{meant}"
            f"{_no_header(part)}"
        )


def _no_header(part: Part) -> str:
    from tuneoff.data.headers import no_header  # which knows the names that are usual here

    return no_header(part.columns) if part.header else ""


def _usual_texts(part: Part, pair: str | None) -> tuple[str, str | None]:
    if pair is None:
        for first, second in PAIRS:
            found = [find_named(part.columns, name) for name in (first, second)]
            if found[0] is not None and found[1] is not None:
                return found[0], found[1]
    return _usual(part, TEXTS, "text", "holds the texts"), pair


def _usual(part: Part, names: Sequence[str], option: str, purpose: str) -> str:
    for name in names:
        found = find_named(part.columns, name)
        if found is not None:
            return found
    known = in_line(part.columns)
    raise UserError(
        f"{part.where}: none of its columns ({known}) has a usual name; say with data.{option} which {purpose}"
        f"{_no_header(part)}"
    )


def find_named(columns: Sequence[str], name: str) -> str | None:
    """The first column of that name, without regard to case; or else the one that is called so inside another."""
    found = next((column for column in columns if column.lower() == name), None)
    inside = [column for column in columns if BETWEEN in column and column.lower().rpartition(BETWEEN)[2] == name]
    return inside[0] if found is None and len(inside) == 1 else found
