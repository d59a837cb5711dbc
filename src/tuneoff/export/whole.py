"""A trained model as one module in full precision, whatever it was trained beside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tuneoff.core.errors import UserError, one_line
from tuneoff.export.trained import Trained
from tuneoff.models.load import load_config
from tuneoff.models.load_saved import SavedClassifier, load_saved
from tuneoff.models.quantised import stored_quantisation
from tuneoff.models.saved import SavedFolder

if TYPE_CHECKING:
    import peft
    from torch import nn


def whole_classifier(trained: Trained) -> SavedClassifier:
    """Loads a trained model in float32 on the CPU, with what an adapter adds merged into the weights.

    Where it was trained on a base model in 4 bits it is merged into the weights of full precision, which gives another
    model: weights that are merged in 4 bits would be rounded anew.

    Raises:
        UserError: where it cannot be merged.
    """
    saved = trained.opened.saved
    if saved.kind == "adapter":
        assert trained.base_folder is not None
        if stored_quantisation(load_config(trained.base_folder, len(saved.texts.label_names))) is not None:
            raise UserError(
                f"{saved.arm} cannot be merged: the weights of its base model are stored in 4 bits; use --format model"
            )
    opened = SavedFolder(trained.opened.folder, saved.model_copy(update={"quantization": None}))
    classifier = load_saved(opened, trained.base_folder, torch.device("cpu"), torch.float32)
    if saved.kind == "adapter":
        try:
            model = _merged(classifier.model)
        except (NotImplementedError, ValueError) as error:
            raise UserError(f"{saved.arm} cannot be merged ({one_line(error)}); use --format model") from error
        return SavedClassifier(model, classifier.loaded, classifier.tokenizer)
    return classifier


def _merged(model: peft.PeftModel) -> nn.Module:
    """The classifier inside a peft model, with its adapter merged and its trained head in place.

    Layer by layer, since peft's own `merge_and_unload` fails on RoBERTa and ELECTRA: it looks for the parents of layers
    by names that its wrapper around their heads does not have.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    from tuneoff.models.virtual_embedding import merge_rows

    classifier: Any = model.get_base_model()
    merge_rows(classifier)
    for name, module in list(classifier.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            classifier.set_submodule(name, module.modules_to_save[model.active_adapter])
        elif isinstance(module, BaseTunerLayer):
            module.merge(safe_merge=True)
            classifier.set_submodule(name, module.get_base_layer())
    merged: nn.Module = classifier
    return merged
