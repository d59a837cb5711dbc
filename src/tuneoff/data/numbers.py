"""Labels that are numbers to predict."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.texts import in_line
from tuneoff.data.decimals import with_point
from tuneoff.data.label_reader import LabelReader, ReadLabels

if TYPE_CHECKING:
    from tuneoff.data.source_table import SourceTable

SHOWN = 60
LARGEST = 1e30


class Numbers(LabelReader):
    """A number an example.

    Args:
        column: what the source calls the column of numbers.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._codes: dict[float, int] = {}

    def _code(self, label: Any, where: str, row: int) -> int:
        number = _number(label)
        if number is None or not isfinite(number) or abs(number) > LARGEST:
            comma = "; write it with a decimal point" if isinstance(label, str) and "," in label else ""
            raise UserError(
                f"{where}: the label of row {row:,} is {repr(label)[:SHOWN]}, and data.task = 'regression' learns "
                f"numbers{comma}"
            )
        return self._codes.setdefault(number, len(self._codes))

    def finish(self, codes: NDArray[np.int32], source: SourceTable) -> ReadLabels:
        used = np.unique(codes[codes >= 0])
        if len(used) < 2:
            raise UserError(
                f"{source.where}: every number in the column {in_line([self._column])} is the same, so that there is "
                "nothing to learn"
            )
        values = np.empty(len(self._codes))
        for number, code in self._codes.items():
            values[code] = number
        order = used[np.argsort(values[used])]
        renumbered = np.full(len(values) + 1, -1, dtype=np.int32)  # of which -1 is the last
        renumbered[order] = np.arange(len(order))
        new = renumbered[codes]
        # Drawn at random, since groups of near numbers would change with every row that is appended.
        return ReadLabels(new, (self._column,), values[order][:, None], np.where(new >= 0, 0, -1).astype(np.int32))


def _number(label: Any) -> float | None:
    if isinstance(label, bool) or not isinstance(label, int | float | str):
        return None
    try:
        return float(with_point(label) if isinstance(label, str) else label) + 0.0  # of -0 and 0 one number
    except ValueError:
        return None
