"""Of packed sequences, a classifier's head reads one token each; the others' work ends as early as it can."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from tuneoff.training.engines.packing import pooled_tokens
from tuneoff.training.parallel.devices import transformer_blocks


def pool(classifier: nn.Module, only_pooled_in_last_block: bool) -> None:
    """Makes a packed classifier's head see the tokens that stand for the sequences, shape (S, 1, hidden).

    Args:
        classifier: of transformers.
        only_pooled_in_last_block: in the last block only what the pooled tokens attend to is needed, and what follows
            works token by token. Where a block is built like BERT's, which pools first tokens, the others are
            dropped there already.
    """
    backbone: Any = classifier.base_model
    # The module whose output the model's own head pools: the backbone, or its encoder where that pools itself.
    read = backbone.encoder if hasattr(backbone, "pooler") else backbone
    parts = _bert_attention(transformer_blocks(classifier)[-1]) if only_pooled_in_last_block else None
    if parts is None:
        read.register_forward_hook(_keep_pooled)
    else:
        attention, after_attention = parts
        attention.needed_tokens = 1
        after_attention.register_forward_pre_hook(_take_pooled)
        read.register_forward_hook(_each_in_a_row)


def _bert_attention(block: nn.Module) -> tuple[Any, nn.Module] | None:
    """BERT's self-attention, and what takes its result and the residual stream; None in blocks of another build."""
    parts = dict(dict(block.named_children()).get("attention", nn.Module()).named_children())
    if parts.keys() != {"self", "output"}:
        return None
    if list(inspect.signature(parts["output"].forward).parameters) != ["hidden_states", "input_tensor"]:
        return None
    return parts["self"], parts["output"]


def _take_pooled(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(part.index_select(1, pooled_tokens()) for part in inputs)


def _keep_pooled(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    output.last_hidden_state = output.last_hidden_state.index_select(1, pooled_tokens()).transpose(0, 1)
    return output


def _each_in_a_row(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    output.last_hidden_state = output.last_hidden_state.transpose(0, 1)
    return output
