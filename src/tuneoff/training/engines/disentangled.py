"""DeBERTa-v2's encoder over packed sequences: transformers' modules with forwards of ours.

transformers holds, for all layers, the bucket of every pair of tokens, and in each layer the products of all tokens
with all buckets and what is gathered from them, all of them padded. Here distances are looked up in a small table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from tuneoff.training.engines.packing import active_batch, active_weight_dropout
from tuneoff.training.kernels.disentangled_torch import disentangled_attention_one_by_one
from tuneoff.training.kernels.distances import DistanceRules, Distances, reach_of


def pack_disentangled(backbone: Any) -> None:
    """Makes a DeBERTa-v2 take sequences that stand end to end in one row, while `attending` to a batch.

    Args:
        backbone: a `DebertaV2Model` without a convolution; its submodules stay, adapted or not, and so do weights.
    """
    encoder = backbone.encoder
    tables = _Tables(encoder) if encoder.relative_attention else None
    backbone.forward = partial(_backbone_forward, backbone)
    encoder.forward = partial(_encoder_forward, encoder)
    for block in encoder.layer:
        attention = block.attention.self
        attention.project = _project
        attention.forward = partial(_attention_forward, attention, tables)


class _Tables:
    """Buckets of distances, made once for lengths that take the same ones; they stay, since CUDA graphs read them."""

    def __init__(self, encoder: Any) -> None:
        span = len(encoder.rel_embeddings.weight) // 2
        self._rules = DistanceRules(span, encoder.position_buckets, encoder.max_relative_positions)
        self._made: dict[tuple[int, torch.device], Distances] = {}

    def up_to(self, length: int, device: torch.device) -> Distances:
        """For texts of up to so many tokens."""
        reach = reach_of(length)
        key = reach, device
        if key not in self._made:
            self._made[key] = self._rules.table(reach, device)
        return self._made[key]


def _backbone_forward(
    backbone: Any,
    input_ids: torch.Tensor | None = None,
    token_type_ids: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    **_unused: Any,
) -> Any:
    states = backbone.embeddings(
        input_ids=input_ids, token_type_ids=token_type_ids, position_ids=position_ids, inputs_embeds=inputs_embeds
    )
    return backbone.encoder(states)


def _encoder_forward(encoder: Any, hidden_states: torch.Tensor) -> Any:
    embeddings = encoder.get_rel_embedding()
    for block in encoder.layer:
        hidden_states, _ = block(hidden_states, None, rel_embeddings=embeddings)
    return BaseModelOutput(last_hidden_state=hidden_states)


def _attention_forward(
    module: Any,
    tables: _Tables | None,
    hidden_states: torch.Tensor,
    *_unused: Any,
    rel_embeddings: torch.Tensor | None = None,
    **_also_unused: Any,
) -> tuple[torch.Tensor, None]:
    """What `DisentangledSelfAttention` computes, of shape (1, T, hidden), and no weights."""
    heads = module.num_attention_heads
    projected = module.project(hidden_states, [module.query_proj, module.key_proj, module.value_proj])
    query, key, value = (_by_head(states, heads) for states in projected)
    by_content, by_position = ("c2p" in module.pos_att_type, "p2c" in module.pos_att_type)
    scale = 1.0 / math.sqrt(query.shape[2] * (1 + by_content + by_position))
    position_key = position_query = distances = None
    if tables is not None and rel_embeddings is not None and (by_content or by_position):
        distances = tables.up_to(active_batch().max_seqlen, hidden_states.device)
        embeddings = module.pos_dropout(rel_embeddings)[distances.rows][None]
        if by_content:
            layer = module.key_proj if module.share_att_key else module.pos_key_proj
            position_key = _by_head(layer(embeddings), heads)
        if by_position:
            layer = module.query_proj if module.share_att_key else module.pos_query_proj
            position_query = _by_head(layer(embeddings), heads)
    out = _attend(module, query, key, value, position_key, position_query, distances, scale)
    return out.flatten(1)[None], None


def _project(states: torch.Tensor, layers: Sequence[Any]) -> list[torch.Tensor]:
    """What each layer makes of `states`. On a GPU `fuse` may put one product in its place."""
    return [layer(states) for layer in layers]


def _by_head(states: torch.Tensor, heads: int) -> torch.Tensor:
    """From shape (1, rows, heads * head size) to (rows, heads, head size)."""
    return states[0].unflatten(-1, (heads, -1))


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it cannot look into our kernels
def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    position_key: torch.Tensor | None,
    position_query: torch.Tensor | None,
    distances: Distances | None,
    scale: float,
) -> torch.Tensor:
    batch, weights = active_batch(), active_weight_dropout()
    needed: int | None = getattr(module, "needed_tokens", None)
    positions = position_key, position_query, distances
    if query.is_cpu:
        assert weights is None
        assert batch.lengths is not None
        return disentangled_attention_one_by_one(query, key, value, *positions, batch.lengths, scale, needed)
    from tuneoff.training.kernels.disentangled import disentangled_attention

    p, seed, salt = (module.dropout.p, weights.seed, weights.salt(module)) if weights else (0.0, batch.cu_seqlens, 0)
    return disentangled_attention(
        query, key, value, *positions, batch.cu_seqlens, batch.max_seqlen, scale, p, seed, salt, needed
    )
