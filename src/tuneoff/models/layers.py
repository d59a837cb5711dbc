"""Finding a model's linear layers by the endings of their names.

peft's own defaults lack several architectures and its `all-linear` fails on DistilBERT, so the names are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from tuneoff.core.errors import UserError
from tuneoff.models.architecture import layers_of

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


Targets = Literal["query-value", "value", "attention", "mlp", "all-linear"]
"""Linear layers by their role in a transformer block; `all-linear` is every one of the backbone."""


def targeted_modules(loaded: LoadedModel, targets: Targets, names: tuple[str, ...] = ()) -> list[str]:
    """Full dotted names of the backbone's linear layers that a method adapts, in the model's order.

    Where attention has no linear layers, `query-value` and `value` stand for those of the feed-forward part.

    Args:
        loaded: the model.
        targets: the layers by role.
        names: the layers by the endings of their names, in place of `targets`.

    Raises:
        UserError: where a name fits no layer, or the architecture has none of the role.
    """
    if names:
        return linear_modules(loaded, names)
    if targets == "all-linear":
        return _backbone_layers(loaded)
    layers = layers_of(loaded.architecture)
    chosen = {
        "query-value": layers.query_value or layers.feedforward,
        "value": (layers.value,) if layers.value else layers.feedforward,
        "attention": layers.attention,
        "mlp": layers.feedforward,
    }[targets]
    if not chosen:
        part, other = ("feed-forward part", "attention") if targets == "mlp" else ("attention", "mlp")
        raise UserError(
            f"targets: the {part} of '{loaded.architecture.config.model_type}' has no linear layers; "
            f'take "{other}" or "all-linear"'
        )
    return linear_modules(loaded, chosen)


def linear_modules(loaded: LoadedModel, names: tuple[str, ...]) -> list[str]:
    """Full dotted names of the backbone's linear layers that end in one of `names`, in the model's order.

    `*` in a name stands for any part of it between dots. Layers of the head are left out: they are trained whole.

    Raises:
        UserError: where a name fits no layer.
    """
    layers = _backbone_layers(loaded)
    chosen: set[str] = set()
    for wanted in names:
        found = find_linear(layers, wanted)
        if not found:
            endings = sorted({name.rsplit(".", 1)[-1] for name in layers})
            raise UserError(
                f"target_modules: '{wanted}' is no linear layer of this model; its layers end in {', '.join(endings)}"
            )
        chosen |= found
    return [name for name in layers if name in chosen]


def _backbone_layers(loaded: LoadedModel) -> list[str]:
    return [name for name in linear_names(loaded.model) if not _in_head(loaded, name)]


def _in_head(loaded: LoadedModel, name: str) -> bool:
    return any(name == head or name.startswith(head + ".") for head in loaded.head_modules)


def normalisation_modules(loaded: LoadedModel, names: tuple[str, ...] = ()) -> list[str]:
    """Full dotted names of the backbone's normalisation layers that have weights, in the model's order.

    Args:
        loaded: the model.
        names: endings of those that are meant; all when empty.

    Raises:
        UserError: where there are none.
    """
    found = [
        name
        for name, module in loaded.model.named_modules()
        if "Norm" in type(module).__name__
        and not list(module.children())
        and any(parameter.dim() == 1 for parameter in module.parameters())
        and not _in_head(loaded, name)
    ]
    if names:
        wanted = set[str]().union(*(find_linear(found, name) for name in names))
        found = [name for name in found if name in wanted]
    if not found:
        raise UserError(f"this model has no normalisation layers{' of these names' if names else ''}")
    return found


def linear_names(model: nn.Module) -> list[str]:
    """Full dotted names of a model's linear layers."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear | Conv1D)]


def find_linear(names: Sequence[str], wanted: str) -> set[str]:
    """Those of some dotted names that end in another."""
    return {name for name in names if _ends_with(name, wanted)}


def _ends_with(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    tail = parts[-len(wanted) :]
    return len(tail) == len(wanted) and all(map(fnmatchcase, tail, wanted))
