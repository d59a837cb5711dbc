"""Saving what a run has trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.core.files import replacing_directory

if TYPE_CHECKING:
    import peft
    import torch
    from torch import nn


def save_trained(
    model: nn.Module,
    run_folder: Path,
    source: Path,
    base_model: str,
    base_revision: str | None = None,
    weights: dict[str, torch.Tensor] | None = None,
) -> Path:
    """Saves the trained weights as a user of the field would expect them.

    A peft model becomes `adapter/`, which `peft.AutoPeftModelForSequenceClassification` loads; a model trained
    whole becomes `model/` with its tokenizer, which transformers' Auto classes load; anything else becomes
    `adapter/trained.safetensors`, the trained tensors by their names in the model.

    Args:
        model: trained.
        run_folder: where the folder is made.
        source: the folder that the pretrained model was loaded from.
        base_model: what an adapter calls that model; those who load the adapter look there.
        base_revision: its commit, where that is an id of the Hub.
        weights: the trained tensors by name, where `model` holds only shares of them.

    Returns:
        The folder that was written, atomically.
    """
    import peft
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, PreTrainedModel

    whole = all(parameter.requires_grad for parameter in model.parameters())
    target = run_folder / ("model" if whole else "adapter")
    with replacing_directory(target) as folder:
        if isinstance(model, peft.PeftModel):
            _name_base_model(model, base_model, base_revision)
            model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=weights)
        elif whole:
            trained: Any = model
            assert isinstance(trained, PreTrainedModel)
            trained.save_pretrained(folder, state_dict=weights)
            AutoTokenizer.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)
        else:
            names = [name for name, value in model.named_parameters() if value.requires_grad]
            held = weights or dict(model.named_parameters())
            tensors = {name: held[name].detach().cpu() for name in names}
            save_file(tensors, folder / "trained.safetensors")
    return target


def _name_base_model(model: peft.PeftModel, name: str, revision: str | None) -> None:
    base = model.get_base_model()
    base.name_or_path = base.config.name_or_path = name
    for config in model.peft_config.values():
        config.base_model_name_or_path = name
        config.revision = revision
