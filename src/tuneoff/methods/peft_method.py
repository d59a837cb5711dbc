"""What the methods share that peft builds into layers of the backbone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from textwrap import shorten
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from tuneoff.core.errors import LONGEST_MESSAGE, UserError
from tuneoff.models.layers import Targets, targeted_modules
from tuneoff.models.quantised import keep_dtype
from tuneoff.spec.arms import ArmSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tuneoff.models.load import LoadedModel


MOST = 65_536
"""Of ranks and counts that a study may set: more is a slip of the keyboard."""


class PeftMethod(ArmSpec):
    """A method of peft, whose options are called as peft calls them; the head is trained, and saved whole.

    A subclass names peft's configuration and declares as fields those of its options that a study may set.
    """

    config: ClassVar[str]
    """Name of the configuration's class in peft."""
    per_layer: ClassVar[str] = ""
    """How many parameters a layer gets: an expression in its `inputs` and `outputs` and in the options."""
    once: ClassVar[str] = ""
    """How many all layers share."""
    in_run_precision: ClassVar[bool] = False
    """Whether what it adds is computed in the run's precision; in float32 otherwise, as peft does it beside weights in
    less. Many methods compute Fourier transforms, inverses or decompositions, which exist in no other type."""
    reads_weights: ClassVar[bool] = False
    """Whether what it adds depends on the weights' values, so that it cannot be built into an outline without any."""

    target_modules: tuple[str, ...] = Field(
        default=(), description="layers that are adapted, by the ends of their names; those of its paper when empty"
    )

    @classmethod
    def formula(cls) -> str:
        return " + ".join(part for part in (f"layers * ({cls.per_layer})" if cls.per_layer else "", cls.once) if part)

    def layer_names(self, loaded: LoadedModel) -> list[str]:
        """Full dotted names of the layers that are adapted.

        Raises:
            UserError: where there are none.
        """
        raise NotImplementedError

    def adapt(self, loaded: LoadedModel) -> nn.Module:
        import peft
        import torch

        names = self.layer_names(loaded)
        if self.reads_weights and loaded.model.device.type == "meta":
            _give_values(loaded, names)
        config_class = getattr(peft, self.config)
        try:
            config = config_class(
                task_type=peft.TaskType.SEQ_CLS,
                target_modules=names,
                modules_to_save=list(loaded.head_modules),
                **self.options(loaded, names),
            )
            model = peft.get_peft_model(loaded.model, config)
        except (UserError, torch.OutOfMemoryError):  # what is said already, and what a run may try again with less
            raise
        except (ValueError, TypeError, NotImplementedError, AttributeError, RuntimeError) as error:
            raise UserError(f"{self.method} cannot be built into this model: {_first_line(error)}") from error
        if self.quantised:
            keep_dtype(model)
        return model

    def options(self, loaded: LoadedModel, names: list[str]) -> dict[str, Any]:
        """What peft's configuration is made with, beside its layers and the head: those fields that it knows.

        Args:
            loaded: the model.
            names: of the layers that are adapted.
        """
        import peft

        del loaded, names
        known = {field.name for field in dataclasses.fields(getattr(peft, self.config))}
        own = (name for name in type(self).model_fields if name not in LayerMethod.model_fields)
        return {name: getattr(self, name) for name in own if name in known}

    def dtypes(self, model: nn.Module, precision: torch.dtype) -> dict[str, torch.dtype]:
        import torch

        if self.in_run_precision:
            return {}
        return dict.fromkeys(added_parameters(model), torch.float32)


class LayerMethod(PeftMethod):
    """A method that adapts linear layers, which are chosen by their role."""

    targets: Targets = Field(default="query-value", description="layers that are adapted, by their role in a block")

    def layer_names(self, loaded: LoadedModel) -> list[str]:
        return targeted_modules(loaded, self.targets, self.target_modules)


def _give_values(loaded: LoadedModel, names: Iterable[str]) -> None:
    """Gives layers of an outline some weights on the CPU, for the shapes of what is made from them."""
    import torch

    for name in names:
        layer: Any = loaded.model.get_submodule(name)
        layer.weight = torch.nn.Parameter(torch.randn(layer.weight.shape))


def _first_line(error: Exception) -> str:
    """What a library says, without the trace that PyTorch's own errors end in."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shorten(lines[0], LONGEST_MESSAGE, placeholder=" ...")


def added_parameters(model: Any) -> dict[str, nn.Parameter]:
    """What peft has added to a model's layers, by name; its copy of the head is not."""
    prefix = model.base_model.prefix
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if prefix in name and ".modules_to_save." not in name
    }


def widths(loaded: LoadedModel, names: Iterable[str]) -> set[tuple[int, int]]:
    """Inputs and outputs of linear layers."""
    found = set()
    for name in names:
        layer: Any = loaded.model.get_submodule(name)
        if hasattr(layer, "in_features"):
            found.add((layer.in_features, layer.out_features))
        else:  # transformers' Conv1D, which holds its weight the other way round
            found.add((layer.weight.shape[0], layer.weight.shape[1]))
    return found


def check_rank(loaded: LoadedModel, names: Iterable[str], option: str, rank: int) -> None:
    """Refuses more directions than the layers' weights have.

    Raises:
        UserError: where `rank` is more than the inputs or outputs of a layer.
    """
    most = min(min(layer) for layer in widths(loaded, names))
    if rank > most:
        raise UserError(f"{option} = {rank}: the smallest of the layers has {most} inputs or outputs; take fewer")


def common_divisor(sizes: Iterable[int], most: int) -> int:
    """The largest number up to `most` that divides all sizes."""
    greatest = math.gcd(*sizes)
    return max(divisor for divisor in range(1, min(most, greatest) + 1) if greatest % divisor == 0)
