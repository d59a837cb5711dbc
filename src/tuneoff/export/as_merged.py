"""An export of all weights in full precision, which transformers loads by itself."""

from __future__ import annotations

from pathlib import Path

from tuneoff.core.errors import UserError
from tuneoff.export.as_model import write_model
from tuneoff.export.trained import Trained
from tuneoff.export.whole import whole_classifier
from tuneoff.models.save import save_trained
from tuneoff.models.saved import read_saved
from tuneoff.records.saved_model import SavedModel


def write_merged(trained: Trained, folder: Path) -> SavedModel:
    """Writes a model with its adapter merged into its base model's weights, or a whole one as it is.

    Raises:
        UserError: where no class of transformers computes it, or it cannot be merged.
    """
    saved = trained.opened.saved
    if saved.kind == "features":
        raise UserError(
            f"{saved.arm} reads the mean of the base model's hidden states, which no class of transformers does; use "
            "--format onnx or model"
        )
    if saved.kind == "bottleneck":
        raise UserError(
            f"{saved.arm} computes something else than a weight's product, and cannot be merged into weights; use "
            "--format onnx or model"
        )
    if saved.kind == "whole":
        return write_model(trained, folder)
    whole = saved.model_copy(update={"kind": "whole", "base": trained.base, "quantization": None})
    save_trained(whole_classifier(trained).model, folder, trained.opened.folder, whole)
    return read_saved(folder)
