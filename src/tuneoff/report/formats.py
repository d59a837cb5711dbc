"""The formats that a report can be written in."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.report.notebook import write_notebook
from tuneoff.report.page import write_page
from tuneoff.report.pdf import write_pdf
from tuneoff.report.tables import write_csv, write_latex
from tuneoff.report.write import write_markdown

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults


@dataclass(frozen=True)
class Format:
    """One way to write a report.

    Attributes:
        write: writes the file into the study's folder, atomically, and returns its path.
        needs: a package that is not always installed, or none; tuneoff's extra has the name of the format.
    """

    write: Callable[[StudyResults], Path]
    needs: str | None = None


FORMATS = {
    "html": Format(write_page),
    "md": Format(write_markdown),
    "pdf": Format(write_pdf, needs="typst"),
    "notebook": Format(write_notebook, needs="nbformat"),
    "csv": Format(write_csv),
    "latex": Format(write_latex),
}


def chosen_formats(text: str) -> list[str]:
    """The formats that a text such as `html,pdf` names, each once.

    Raises:
        UserError: where it names none, an unknown one, or one whose package is not installed.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise UserError(f"--format {text}: '{name}' is no format; there are {', '.join(FORMATS)}")
        needs = FORMATS[name].needs
        if needs is not None and importlib.util.find_spec(needs) is None:
            raise UserError(f"--format {name} needs the package {needs}: pip install 'tuneoff[{name}]'")
    return names


def write_formats(results: StudyResults, names: Sequence[str]) -> dict[str, Path]:
    """Writes a study's report in some formats; returns the file of each."""
    return {name: FORMATS[name].write(results) for name in names}
