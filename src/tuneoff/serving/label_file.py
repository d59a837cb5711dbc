"""Labelling rows into a file, which is whole or absent, and goes on after an interruption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash
from tuneoff.serving import formats
from tuneoff.serving.part_file import finish, remove, writing_on
from tuneoff.training.device import precision_name

if TYPE_CHECKING:
    from tuneoff.serving.labelling import Labeller
    from tuneoff.serving.predictor import Predictor
    from tuneoff.serving.text_rows import TextRows

ENCODERS: dict[str, formats.Encode] = {
    ".csv": formats.cells(","),
    ".tsv": formats.cells("\t"),
    ".jsonl": formats.json_lines,
    ".parquet": formats.arrow,
}


@dataclass(frozen=True)
class Labelled:
    """What was done.

    Attributes:
        rows: in the file.
        before: of them, those that an earlier command had labelled.
        without_text: of them, those without a label.
        first_without: where the first of them is.
        seconds: that it took, loading aside.
    """

    rows: int
    before: int
    without_text: int
    first_without: str | None
    seconds: float

    @property
    def rows_per_second(self) -> float:
        """Of those that this command has labelled."""
        return (self.rows - self.before) / max(self.seconds, 1e-9)


def check_out(out: Path) -> None:
    """Makes sure that a file can be written, before anything is loaded.

    Raises:
        UserError: where it exists, its folder does not, or its name says no format.
    """
    formats.ending_of(out)
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists already; name another file with --out, or remove it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"--out {out}: there is no folder {out.parent}")


def label_into(
    out: Path, predictor: Predictor, rows: TextRows, labeller: Labeller, told: Callable[[int, int], None]
) -> Labelled:
    """Labels rows into a file; what an earlier command with the same input did is not repeated.

    Args:
        out: see `check_out`.
        predictor: of the labeller.
        rows: of the labeller.
        labeller: labels them.
        told: called with how many rows are done, and how many of them an earlier command did.

    Raises:
        UserError: where a row cannot be read, the disk cannot be written, or a part is there of another request.
    """
    ending = formats.ending_of(out)
    encode = ENCODERS[ending]
    began = perf_counter()
    with writing_on(out, _request(ending, predictor, rows, labeller)) as part:
        before = part.done.rows
        told(before, before)
        if not part.done.content and ending in (".csv", ".tsv"):
            part.append(formats.header(labeller.columns, "," if ending == ".csv" else "\t"), rows=0)
        for piece in labeller.labelled(skip=before):
            part.append(encode(piece.table), len(piece.table), piece.without_text, piece.first_without)
            told(part.done.rows, before)
    done = part.done
    if not done.rows:
        remove(part.path)
        raise UserError(f"{rows.table.where}: there are no rows")
    if ending == formats.PARQUET:
        formats.parquet_of(part.path, out)
        remove(part.path)
    else:
        finish(part.path, out)
    return Labelled(done.rows, before, done.without_text, done.first_without, perf_counter() - began)


def _request(ending: str, predictor: Predictor, rows: TextRows, labeller: Labeller) -> dict[str, str]:
    """What decides the bytes of the file: the same request gives the same ones, interrupted or not."""
    import torch

    models = {name: [saved.sha256, saved.base.fingerprint] for name, saved in predictor.saved.items()}
    computed = [predictor.device.type, precision_name(predictor.precision), torch.get_num_threads(), torch.__version__]
    return {
        "input": canonical_hash(rows.fingerprint),
        "model": canonical_hash(models),
        "choice of columns": canonical_hash([rows.text, rows.text_pair, labeller.columns]),
        "format": ending,
        "device, precision or number of threads": canonical_hash(computed),
    }
