"""Labelled rows in the terminal: a line for each, how far a long file is, and what was done in the end."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from tuneoff.core.texts import counted, printable
from tuneoff.report.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from tuneoff.serving.label_file import Labelled
    from tuneoff.serving.labelling import Labeller
    from tuneoff.serving.text_rows import TextRows

WIDEST_LABEL = 24
SHOWN_TEXT = 400
"""Characters of a text that a line may show, where the terminal is wide."""
NO_TEXT = "(no text)"


class LabelLines:
    """Prints labels, probabilities and texts, a line for each row, under a heading.

    Args:
        rows: what is labelled.
        labeller: labels it.
        classes: names of the classes of each model.
    """

    def __init__(self, rows: TextRows, labeller: Labeller, classes: dict[str, tuple[str, ...]]) -> None:
        self._console = Console(highlight=False)
        self._columns: list[tuple[str, int, bool]] = []
        for name, (label, *others) in labeller.new.items():
            widest = min(WIDEST_LABEL, max(map(len, (*classes[name], NO_TEXT))))
            self._columns.append((label, max(widest, len(label)), True))
            self._columns += [(column, max(6, len(column)), False) for column in others]
        self._texts = [name for name in (rows.text, rows.text_pair) if name is not None]
        self._line([f"{column:{'<' if left else '>'}{width}}" for column, width, left in self._columns], self._texts)

    def show(self, table: pa.Table) -> None:
        """Prints some rows."""
        for row in table.select([*(name for name, *_ in self._columns), *self._texts]).to_pylist():
            cells = []
            for column, width, left in self._columns:
                value = row[column]
                if left:
                    shown = NO_TEXT if value is None else f"{value:.6g}" if isinstance(value, float) else value
                    cells.append(f"{printable(shown, width):<{width}}")
                else:
                    cells.append(f"{'' if value is None else f'{value:.1%}':>{width}}")
            self._line(cells, [printable(str(row[name] or ""), SHOWN_TEXT) for name in self._texts])

    def _line(self, cells: Sequence[str], texts: Sequence[str]) -> None:
        self._console.print(Text("  ".join([*cells, *texts])), no_wrap=True, overflow="ellipsis", crop=True)


class LabellingProgress:
    """How far a long file is, on standard error where that is a terminal."""

    def __init__(self, about: int | None) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("labelling"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("rows{task.fields[pace]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not (console.is_interactive and sys.stderr.isatty()),
        )
        self._about = about
        self._task: TaskID | None = None

    def __enter__(self) -> LabellingProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def told(self, done: int, before: int) -> None:
        """So many rows are done, of which so many were before."""
        if self._task is None:
            self._task = self._progress.add_task("", total=self._about, completed=before, pace="")
            if before:
                self._progress.console.print(f"going on after {counted(before, 'row')} that are done")
        seconds = self._progress.tasks[0].elapsed or 0
        pace = f", {(done - before) / seconds:,.0f}/s" if seconds > 1 else ""
        self._progress.update(self._task, completed=done, pace=pace)


def print_labelled(out: Path, done: Labelled) -> None:
    """What a file holds, and how fast it was made."""
    before = f", of which {done.before:,} were done before" if done.before else ""
    pace = f"; {duration(done.seconds)}, {done.rows_per_second:,.0f} rows/s"
    print(f"{out}: {counted(done.rows, 'row')}{before}{pace}")
    say_without_text(done.without_text, done.first_without)


def say_without_text(rows: int, first: str | None) -> None:
    """Tells of rows that have no label."""
    if rows:
        which = "has no text and got no label" if rows == 1 else "have no text and got no label; the first is"
        print(f"tuneoff: {counted(rows, 'row')} {which}{':' if rows == 1 else ''} {first}", file=sys.stderr)
