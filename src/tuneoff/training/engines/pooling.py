"""Of packed sequences, a classifier's head reads what stands for each; other tokens' work ends as early as it can."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tuneoff.models.architecture import Pooling
from tuneoff.training.engines.packing import active_batch
from tuneoff.training.kernels import known_code

if TYPE_CHECKING:
    from tuneoff.core.long_texts import OverWindows
    from tuneoff.models.load import LoadedModel


def pool(loaded: LoadedModel, only_pooled_in_last_block: bool) -> None:
    """Makes a packed classifier's head see one hidden state a sequence, shape (S, 1, hidden), and give their logits.

    Args:
        loaded: its model is changed.
        only_pooled_in_last_block: in the last block only what the pooled tokens attend to is needed, and what follows
            works token by token. Where a block is built like BERT's, Llama's or ModernBERT's, the others are dropped
            there already.
    """
    architecture, classifier = loaded.architecture, loaded.model
    backbone: Any = classifier.base_model
    # The module whose output the model's own head pools: the backbone, or its encoder where that pools itself.
    read = getattr(backbone, "encoder", backbone)
    last = architecture.blocks_of(classifier)[-1] if only_pooled_in_last_block else None
    if architecture.pooling is Pooling.MEAN:
        read.register_forward_hook(_keep_mean)
    elif last is None or not _leave_out(last, architecture.pooling is Pooling.FIRST):
        read.register_forward_hook(_keep_pooled)
    else:
        read.register_forward_hook(_each_in_a_row)
    if architecture.has_own_classify:
        classifier.forward = _packed_forward(loaded)


def of_texts(
    logits: torch.Tensor, owners: torch.Tensor | None, texts: int, over_windows: OverWindows | None
) -> torch.Tensor:
    """Logits of texts, shape (texts, classes), from those of their windows; as they are where texts have none.

    Args:
        logits: of windows, shape (windows, classes).
        owners: which text each window is of, shape (windows,).
        texts: how many there are.
        over_windows: what becomes of the logits of a text's windows.
    """
    if owners is None:
        return logits
    # Products and masks, rather than additions by index, which are atomic and whose bits do not repeat.
    of_text = owners[None, :] == torch.arange(texts, device=logits.device)[:, None]
    if over_windows == "max":
        return logits[None].masked_fill(~of_text[:, :, None], -torch.inf).amax(dim=1)
    return (of_text.to(logits.dtype) @ logits) / of_text.sum(dim=1, keepdim=True)


def _packed_forward(loaded: LoadedModel) -> Any:
    """A forward of the classifier that does not look for the pooled tokens in rows of a batch."""
    from transformers.modeling_outputs import SequenceClassifierOutput

    def forward(
        input_ids: torch.Tensor, position_ids: torch.Tensor, token_type_ids: torch.Tensor | None = None, **_unused: Any
    ) -> SequenceClassifierOutput:
        options: dict[str, Any] = {"input_ids": input_ids, "position_ids": position_ids}
        if token_type_ids is not None:
            options["token_type_ids"] = token_type_ids
        if hasattr(loaded.model.config, "use_cache"):
            options["use_cache"] = False
        states = loaded.model.base_model(**options).last_hidden_state
        return SequenceClassifierOutput(logits=loaded.architecture.classify(loaded.model, states)[:, 0])

    return forward


def _leave_out(block: Any, first: bool) -> bool:
    """Has the last block drop all but the pooled tokens behind its attention, if it is one of a known build.

    Args:
        block: is changed.
        first: whether the pooled tokens are the first ones, so that attention can leave the others' results out.
    """
    bert = _bert_attention(block) if first else None
    names = known_code.block_names(block) if bert is None else None
    if bert is not None:
        attention, after_attention = bert
    elif names is not None:
        attention = getattr(block, names.attention)
        after_attention = getattr(attention, names.attention_output)
        block.take_pooled = _pooled
        block.forward = _pooling_forward(block, names)
    else:
        return False
    if first:
        attention.needed_tokens = 1
    after_attention.register_forward_pre_hook(_take_pooled)
    return True


def _pooling_forward(block: Any, names: known_code.BlockNames) -> Any:
    """What a block of this build does, with the residual stream of the pooled tokens alone behind its attention."""
    first_norm, attention, second_norm, mlp = (getattr(block, name) for name in names[:4])

    def forward(hidden_states: torch.Tensor, **options: Any) -> torch.Tensor:
        attended = attention(first_norm(hidden_states), **options)[0]
        total: torch.Tensor = block.take_pooled(hidden_states) + attended
        out: torch.Tensor = total + mlp(second_norm(total))
        return out

    return forward


def _bert_attention(block: nn.Module) -> tuple[Any, nn.Module] | None:
    """BERT's self-attention, and what takes its result and the residual stream; None in blocks of another build."""
    parts = dict(dict(block.named_children()).get("attention", nn.Module()).named_children())
    if parts.keys() != {"self", "output"}:
        return None
    if list(inspect.signature(parts["output"].forward).parameters) != ["hidden_states", "input_tensor"]:
        return None
    return parts["self"], parts["output"]


def _take_pooled(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(_pooled(part) for part in inputs)


def _pooled(states: torch.Tensor) -> torch.Tensor:
    return states.index_select(1, active_batch().pooled)


def _keep_pooled(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    output.last_hidden_state = output.last_hidden_state.index_select(1, active_batch().pooled).transpose(0, 1)
    return output


def _keep_mean(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    """As a product with zeros and ones, which has a backward pass without atomic additions, so that bits repeat."""
    batch = active_batch()
    sequences = len(batch.pooled)
    starts, ends = batch.cu_seqlens[:sequences, None], batch.cu_seqlens[1 : sequences + 1, None]
    states = output.last_hidden_state[0]
    place = torch.arange(len(states), device=states.device)
    sums = ((place >= starts) & (place < ends)).to(states.dtype) @ states
    output.last_hidden_state = (sums / (ends - starts).clamp(min=1))[:, None]
    return output


def _each_in_a_row(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    output.last_hidden_state = output.last_hidden_state.transpose(0, 1)
    return output
