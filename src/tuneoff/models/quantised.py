"""Backbones whose weights are not in full precision: stored so already, or made so while they are loaded."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.models.hide import import_bitsandbytes
from tuneoff.spec.quantization import QUANTIZATIONS

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Quantisation:
    """How a backbone is loaded that is not in full precision.

    Attributes:
        kind: how its linear layers are stored, by its name in `QUANTIZATIONS`.
        compute_dtype: what they compute in.
    """

    kind: str
    compute_dtype: torch.dtype


def quantisation_of(kind: str | None, compute_dtype: torch.dtype) -> Quantisation | None:
    """How a backbone is loaded; None in full precision."""
    return None if kind is None else Quantisation(kind, compute_dtype)


def bitsandbytes_options(quantisation: Quantisation, head: Iterable[str]) -> dict[str, Any]:
    """What transformers' `BitsAndBytesConfig` is made with.

    Args:
        quantisation: of the backbone.
        head: modules that stay in full precision.
    """
    import_bitsandbytes()
    options = QUANTIZATIONS.named(quantisation.kind).options(quantisation.compute_dtype)
    return {**options, "llm_int8_skip_modules": list(head)}


def keep_dtype(model: Any) -> None:
    """Makes peft's layers on quantised weights give what they are given: some give float32 for bfloat16.

    Args:
        model: peft's, of a quantised backbone.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.register_forward_hook(_as_given)


def _as_given(_module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
    states = inputs[0]
    return output.to(states.dtype) if states.is_floating_point() else output  # embeddings are given numbers of tokens


def stored_quantisation(config: Any) -> dict[str, Any] | None:
    """How a checkpoint's weights are quantised, as its config.json says; None where they are not."""
    stored = getattr(config, "quantization_config", None)
    return stored if stored is None or isinstance(stored, dict) else stored.to_dict()


def check_stored_precision(config: Any, quantization: str | None) -> None:
    """Refuses weights in a precision that a method cannot train with.

    Args:
        config: of the model.
        quantization: how the arm has the backbone stored; None in full precision.

    Raises:
        UserError: where the weights are stored in 4 bits and the method needs whole ones, or otherwise quantised.
    """
    stored = stored_quantisation(config)
    if stored is None:
        return
    if stored.get("quant_method") != "bitsandbytes" or not stored.get("load_in_4bit"):
        raise UserError(
            f"model.id: its weights are stored quantised ({stored.get('quant_method', 'unknown')}), other than in 4 "
            "bits by bitsandbytes; choose the model in full precision"
        )
    if quantization is None or QUANTIZATIONS.named(quantization).bits != 4:
        raise UserError(
            "model.id: its weights are stored in 4 bits, on which only arms in 4 bits (qlora, or quantization = "
            '"nf4") can be trained; choose the model in full precision'
        )


def unquantised(config: Any) -> Any:
    """A copy of a configuration, for its names and shapes in full precision."""
    whole = copy.deepcopy(config)
    if hasattr(whole, "quantization_config"):
        del whole.quantization_config
    return whole


def with_stored_quantisation(config: Any, compute_dtype: torch.dtype, head: Iterable[str]) -> Any:
    """A copy of the configuration of weights in 4 bits, which are loaded as they are stored.

    Args:
        config: of the model.
        compute_dtype: what is computed in.
        head: modules that are in full precision.
    """
    stored = copy.deepcopy(config)
    stored.quantization_config = {
        **(stored_quantisation(config) or {}),
        "bnb_4bit_compute_dtype": str(compute_dtype).removeprefix("torch."),
        "llm_int8_skip_modules": list(head),
    }
    return stored
