"""What people see of an export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.core.files import folder_bytes
from tuneoff.core.texts import counted
from tuneoff.models.recipe import loading_lines
from tuneoff.report.words import percent

if TYPE_CHECKING:
    from tuneoff.records.export_check import ExportCheck
    from tuneoff.records.saved_model import SavedModel

KINDS = {
    "whole": "all weights, which transformers loads by itself",
    "adapter": "an adapter, which peft loads onto its base model",
    "bottleneck": "small networks behind layers of its base model",
    "features": "a linear head, which reads its base model",
    "onnx": "an ONNX graph with all weights, which onnxruntime loads",
}


def print_export(saved: SavedModel, folder: Path, named: str, base: Path | None) -> None:
    """Prints what was written, how it was checked, and the lines that load it.

    Args:
        saved: what it is.
        folder: where it lies.
        named: what the user calls that.
        base: where the base model lies.
    """
    assert saved.check is not None
    size = folder_bytes(folder) / 1e6
    print(f"wrote       {folder}: {saved.arm} of {saved.study}, seed {saved.seed}; {KINDS[saved.kind]} ({size:.1f} MB)")
    for sentence in check_sentences(saved.check):
        print(f"checked     {sentence}")
    print("\nIt is loaded by\n")
    own_base = str(base) if saved.needs_base and saved.base.revision is None else None
    print("\n".join(f"    {line}" for line in loading_lines(saved, named, own_base).splitlines()))


def check_sentences(check: ExportCheck) -> list[str]:
    """How an export was checked."""
    which = "all" if check.texts == check.test_texts else f"{check.texts:,} of"
    how = "each by itself" if check.batch_size == 1 else f"{check.batch_size} at a time"
    labels = "no label changed, " if not check.changed_labels else f"{counted(check.changed_labels, 'label')} changed, "
    if check.stored_test_accuracy is None:  # of numbers
        labels = ""
    where = f"in a fresh process without tuneoff, on {which} {counted(check.test_texts, 'test text')}, {how}"
    if check.tolerance is not None:
        difference = f"logits differ by at most {check.largest_difference:.1g} ({check.tolerance:.1g} may be)"
        return [f"{where}: {labels}{difference}"]
    another = "it is another model than the trained one, whose base model is quantised"
    if check.test_accuracy is not None and check.stored_test_accuracy is not None:
        was = percent(check.stored_test_accuracy)
        another += f"; test accuracy on these texts {percent(check.test_accuracy)}, where that has {was}"
    return [f"{where}: {labels.removesuffix(', ') or 'it answers'}", another]
