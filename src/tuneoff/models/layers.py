"""Finding a model's linear layers by the endings of their names.

peft's own defaults lack several architectures and its `all-linear` fails on DistilBERT, so the names are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.models.load import LoadedModel


def linear_modules(loaded: LoadedModel, names: tuple[str, ...]) -> list[str]:
    """Full dotted names of the backbone's linear layers that end in one of `names`, in the model's order.

    `*` in a name stands for one dotted part. Layers of the head are left out: they are trained whole.

    Raises:
        UserError: where a name fits no layer.
    """
    layers = [
        name
        for name in linear_names(loaded.model)
        if not any(name == head or name.startswith(head + ".") for head in loaded.head_modules)
    ]
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
    return len(tail) == len(wanted) and all(want in ("*", part) for want, part in zip(wanted, tail, strict=True))
