"""The head: every module outside the backbone, and what of the backbone a checkpoint lacks; drawn anew for each run."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tuneoff.models.looking import bare_classifier

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def head_modules(model: PreTrainedModel, missing: Iterable[str] = ()) -> tuple[str, ...]:
    """Dotted names of the modules of a classifier that are its head, in its order.

    All that stands outside the backbone is, whatever a checkpoint holds of it: a classifier for another number of
    classes may share some of its tensors. What stands inside is where the checkpoint lacks it, such as BERT's pooler.

    Args:
        model: with or without weights.
        missing: names of the parameters that a checkpoint lacks.
    """
    names = {name for name, _ in model.named_parameters()}
    return _whole_modules(model, {name for name in names if not in_backbone(model, name)} | (names & set(missing)))


def in_backbone(model: PreTrainedModel, name: str) -> bool:
    """Whether a parameter of a classifier is the backbone's, by its dotted name."""
    return name.startswith(model.base_model_prefix + ".")


def _whole_modules(model: nn.Module, names: set[str]) -> tuple[str, ...]:
    """The fewest modules that hold the named parameters and no others."""
    modules: list[str] = []
    for path, module in model.named_modules():
        inside = {f"{path}.{name}" for name, _ in module.named_parameters()}
        covered = any(path == chosen or path.startswith(chosen + ".") for chosen in modules)
        if path and inside and inside <= names and not covered:
            modules.append(path)
    return tuple(modules)


def give_shapes(model: PreTrainedModel, head: Iterable[str], config: Any) -> None:
    """Gives the head's tensors the shapes of a configuration; those of other shapes are zero then, until drawn.

    A quantised load keeps the tensors of a checkpoint's classifier for another number of classes.
    """
    import torch
    from torch import nn

    wanted = bare_classifier(config)
    for path in head:
        for name, weight in wanted.get_submodule(path).named_parameters(prefix=path):
            held = model.get_parameter(name)
            if held.shape != weight.shape:
                module, _, own_name = name.rpartition(".")
                fresh = torch.zeros(weight.shape, dtype=torch.float32, device=held.device)
                setattr(model.get_submodule(module), own_name, nn.Parameter(fresh))


def draw_head(model: PreTrainedModel, head: Iterable[str], seed: int) -> None:
    """Draws the head's weights on the CPU by the architecture's own rule, then copies them into place."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for path in head:
            module = model.get_submodule(path)
            fresh = copy.deepcopy(module).to("cpu", torch.float32)
            for leaf in fresh.modules():
                if next(leaf.parameters(recurse=False), None) is not None:
                    model._init_weights(leaf)
            module.load_state_dict(fresh.state_dict())
