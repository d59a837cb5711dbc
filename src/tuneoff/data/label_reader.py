"""Reading labels, whatever they are: each different one gets a code, and in the end codes get what they stand for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tuneoff.data.source_table import SourceTable


@dataclass(frozen=True)
class ReadLabels:
    """The labels of all rows.

    Attributes:
        codes: shape (rows,); -1 where a row is left out.
        names: of what a model learns to give: classes, labels, or the one number.
        table: what each code stands for, shape (codes, names); None where a code is a class.
        strata: what rows are shared out by, so that splits have about as many of each, shape (rows,); -1 as in `codes`.
    """

    codes: NDArray[np.int32]
    names: tuple[str, ...]
    table: NDArray[np.float64] | None
    strata: NDArray[np.int32]


class LabelReader(ABC):
    """Gives each label a number in the order of their first appearance; `finish` renumbers them at the end."""

    def codes(self, labels: Sequence[Any], where: str, rows: range) -> NDArray[np.int32]:
        """Numbers of some labels, shape (labels,); -1 for None, which stands for rows that are left out.

        Args:
            labels: whatever the source has.
            where: the file that they are from.
            rows: what their rows are numbered there.

        Raises:
            UserError: where a label is not of this kind, or there are too many.
        """
        return np.array(
            [-1 if label is None else self._code(label, where, row) for row, label in zip(rows, labels, strict=True)],
            dtype=np.int32,
        )

    @abstractmethod
    def _code(self, label: Any, where: str, row: int) -> int: ...

    @abstractmethod
    def finish(self, codes: NDArray[np.int32], source: SourceTable) -> ReadLabels:
        """Renumbers by the labels' order.

        Args:
            codes: of all rows, shape (rows,); -1 where a row is left out.
            source: the one to train on, which may say what integer labels mean.

        Raises:
            UserError: where all labels together are not of this kind.
        """
