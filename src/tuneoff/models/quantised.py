"""Checkpoints whose weights are stored in 4 bits already."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    import torch


def stored_quantisation(config: Any) -> dict[str, Any] | None:
    """How a checkpoint's weights are quantised, as its config.json says; None where they are not."""
    stored = getattr(config, "quantization_config", None)
    return stored if stored is None or isinstance(stored, dict) else stored.to_dict()


def check_stored_precision(config: Any, quantised: bool) -> None:
    """Refuses weights in a precision that a method cannot train with.

    Args:
        config: of the model.
        quantised: whether the method loads the backbone in 4 bits.

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
    if not quantised:
        raise UserError(
            "model.id: its weights are stored in 4 bits, which only methods on a quantised backbone (qlora) can train; "
            "choose the model in full precision"
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
