"""Packed sequences: how they lie in memory, how attention keeps them apart, how each is pooled.

Sequences stand end to end in one row, without padding. Attention is swapped in through transformers'
`AttentionInterface`; since no mask function is registered under its name, transformers makes no mask.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

from tuneoff.models.architecture import Pooling
from tuneoff.training.kernels.choice import ATTENTION_HEAD_SIZES
from tuneoff.training.kernels.dropout import STRIDE, Calls

if TYPE_CHECKING:
    from tuneoff.core.long_texts import OverWindows
    from tuneoff.data.tokens import Tokens
    from tuneoff.models.architecture import Architecture

ATTENTION, TORCH_ATTENTION = "tuneoff_packed", "tuneoff_packed_torch"
"""With our own kernels where there are any, and without."""
FIRST_WEIGHT_SALT = 100_000
VARLEN_KNOWS_WINDOWS = "window_size" in inspect.signature(varlen_attn).parameters


@dataclass(frozen=True)
class PackedBatch:
    """Views into one buffer; S sequence slots and T token slots.

    Attributes:
        ids, positions: shape (1, T), int32.
        types: 1 for tokens of second texts, else 0, shape (1, T), int32.
        cu_seqlens: where each sequence starts, and the end, shape (S + spare + 1,), int32.
        pooled: the token that stands for each sequence (unless their mean does), shape (S,), int32.
        labels: of texts, shape (S,), int32, unless texts have several windows.
        weights: what each text's loss, with the weight of its class in it, is multiplied by; 0 for an unused slot,
            likewise, float32.
        learning_rate: shape (), float32.
        max_seqlen: the most tokens a sequence may have.
        lengths: of the sequences, on the host; None where `cu_seqlens` alone decides (a CUDA graph).
        owners: which text each sequence is a window of, shape (S,), int32; None where texts are sequences.
        over_windows: what becomes of the logits of a text's windows; likewise.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    types: torch.Tensor
    cu_seqlens: torch.Tensor
    pooled: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    learning_rate: torch.Tensor
    max_seqlen: int
    lengths: tuple[int, ...] | None
    owners: torch.Tensor | None
    over_windows: OverWindows | None


@dataclass(frozen=True)
class Layout:
    """How a batch lies in one int32 buffer, so that one copy brings it to the device.

    Attributes:
        tokens: token slots. Slots beyond a batch's tokens are filled with spare sequences that nothing reads.
        sequences: sequence slots.
        spare: spare sequences, enough for `tokens` to be filled with sequences of at most `max_seqlen` tokens.
        max_seqlen: the most tokens a sequence may have.
        architecture: says how sequences are pooled and their positions counted.
        texts: of several sequences each; None where texts are sequences.
        over_windows: what becomes of the logits of a text's sequences; likewise.
    """

    tokens: int
    sequences: int
    spare: int
    max_seqlen: int
    architecture: Architecture
    texts: int | None = None
    over_windows: OverWindows | None = None

    @property
    def _fields(self) -> list[tuple[str, int]]:
        sequences = self.sequences
        texts = sequences if self.texts is None else self.texts
        return [
            ("ids", self.tokens),
            ("positions", self.tokens),
            ("types", self.tokens),
            ("cu_seqlens", sequences + self.spare + 1),
            ("pooled", sequences),
            ("labels", texts),
            ("weights", texts),
            ("owners", 0 if self.texts is None else sequences),
            ("learning_rate", 1),
        ]

    @property
    def size(self) -> int:
        """Elements of the buffer."""
        return sum(size for _, size in self._fields)

    def fill(
        self,
        buffer: NDArray[np.int32],
        tokens: Tokens,
        rows: NDArray[np.int64],
        total_weight: float,
        learning_rate: float,
    ) -> None:
        """Writes texts of at most `sequences`, of a batch of `total_weight`, into a host buffer of `size` elements."""
        fields = self._split(buffer)
        apart, sequences = tokens.by_sequence, tokens.sequences_of(rows)
        lengths = apart.lengths[sequences]
        total = int(lengths.sum())
        assert len(sequences) <= self.sequences
        assert total <= self.tokens <= total + self.spare * self.max_seqlen
        ends = np.cumsum(lengths)
        starts = ends - lengths
        fields["ids"][:total] = apart.ids_of(sequences)
        fields["ids"][total:] = fields["ids"][0]
        spare_ends = np.minimum(total + self.max_seqlen * np.arange(1, self.spare + 1), self.tokens)
        unused = self.sequences - len(sequences)
        fields["cu_seqlens"][:] = np.concatenate([[0], ends, np.full(unused, total), spare_ends])
        every_length = np.diff(fields["cu_seqlens"])
        offsets = np.arange(self.tokens) - np.repeat(fields["cu_seqlens"][:-1], every_length)
        fields["positions"][:] = self._positions(fields["ids"], fields["cu_seqlens"], offsets)
        fields["types"][:] = 0
        if apart.second_starts is not None and self.architecture.type_vocab_size > 1:
            fields["types"][:total] = offsets[:total] >= np.repeat(apart.second_starts[sequences], lengths)
        if self.texts is not None:
            fields["owners"][:] = np.repeat(np.arange(len(rows)), tokens.sequences[rows])
        for name, values in (
            ("pooled", self._pooled(fields["ids"], starts, ends)),
            ("labels", tokens.labels[rows]),
        ):
            fields[name][: len(values)] = values
            fields[name][len(values) :] = 0
        weights = fields["weights"].view(np.float32)
        weights[: len(rows)] = 1.0 / total_weight
        weights[len(rows) :] = 0.0
        fields["learning_rate"].view(np.float32)[0] = learning_rate

    def _positions(
        self, ids: NDArray[np.int32], cu_seqlens: NDArray[np.int32], offsets: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Position ids, given each token's place in its sequence."""
        architecture = self.architecture
        if not architecture.positions_after_padding:
            return offsets
        is_pad = ids == architecture.pad_token_id
        if is_pad.any():  # texts that hold it literally: it takes no number
            before = np.concatenate([[0], np.cumsum(is_pad)])
            offsets = offsets - (before[1:] - np.repeat(before[cu_seqlens[:-1]], np.diff(cu_seqlens)))
            return np.where(is_pad, architecture.pad_token_id, offsets + architecture.first_position)
        return offsets + architecture.first_position

    def _pooled(self, ids: NDArray[np.int32], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the token is that stands for each sequence."""
        if self.architecture.pooling is not Pooling.LAST:
            return starts
        pad = self.architecture.pad_token_id
        pooled = ends - 1
        for index in np.flatnonzero(ids[pooled] == pad):
            others = np.flatnonzero(ids[starts[index] : ends[index]] != pad)
            pooled[index] = starts[index] + (others[-1] if len(others) else 0)
        return pooled

    def views(self, buffer: torch.Tensor, lengths: tuple[int, ...] | None) -> PackedBatch:
        """The fields of a filled device buffer."""
        fields = self._split(buffer)
        return PackedBatch(
            ids=fields["ids"][None],
            positions=fields["positions"][None],
            types=fields["types"][None],
            cu_seqlens=fields["cu_seqlens"],
            pooled=fields["pooled"],
            labels=fields["labels"],
            weights=fields["weights"].view(torch.float32),
            learning_rate=fields["learning_rate"].view(torch.float32)[0],
            max_seqlen=self.max_seqlen,
            lengths=lengths,
            owners=None if self.texts is None else fields["owners"],
            over_windows=self.over_windows,
        )

    def _split(self, buffer: Any) -> dict[str, Any]:
        fields, start = {}, 0
        for name, size in self._fields:
            fields[name] = buffer[start : start + size]
            start += size
        return fields


@dataclass(frozen=True)
class WeightDropout:
    """How a model's attention weights are dropped: by the step's seed and a number for each layer and call of it."""

    seed: torch.Tensor
    calls: Calls | None = None
    salts: dict[tuple[torch.nn.Module, int], int] = field(default_factory=dict)

    def salt(self, layer: torch.nn.Module) -> int:
        """Tells the call apart from others, and from the dropout modules of the model, which count from one."""
        call = layer, 0 if self.calls is None else self.calls.next(layer)
        return self.salts.setdefault(call, FIRST_WEIGHT_SALT + len(self.salts)) * STRIDE


_active: tuple[PackedBatch, WeightDropout | None] | None = None


@contextmanager
def attending(batch: PackedBatch, dropout: WeightDropout | None = None) -> Iterator[None]:
    """Inside, attention (forward, backward, recomputed) keeps the sequences of `batch` apart.

    Attention weights are dropped where `dropout` is given, with the probability that the model's layers ask for.
    """
    global _active
    _active = batch, dropout
    try:
        yield
    finally:
        _active = None


def active_batch() -> PackedBatch:
    """The batch that is computed."""
    assert _active is not None
    return _active[0]


def active_weight_dropout() -> WeightDropout | None:
    """How its attention weights are dropped; None where they are not."""
    assert _active is not None
    return _active[1]


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    own_kernels: bool = True,
    **_ignored: Any,
) -> tuple[torch.Tensor, None]:
    """Attention among the tokens of each sequence of the active batch.

    Args:
        module: the attention layer; says whether it is causal, and whether all but `needed_tokens` leading tokens of
            each sequence have results that nothing reads.
        query: shape (1, heads, T, head size).
        key: shape (1, key-value heads, T, head size).
        value: like `key`.
        attention_mask: always None.
        scaling: of the scores; one over the root of the head size when None.
        is_causal: overrides the layer's word.
        sliding_window: reach of a local layer, in tokens, the token itself included.
        dropout: probability of dropping a weight, where the active batch wants that.
        own_kernels: whether a CUDA device computes in kernels of ours, where the head size is one that they know.

    Returns:
        Shape (1, T, heads, head size), and None for the weights.
    """
    assert _active is not None
    assert attention_mask is None
    batch, weights = _active
    needed: int | None = getattr(module, "needed_tokens", None)
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    if not query.is_cpu:
        p, seed, salt = (dropout, weights.seed, weights.salt(module)) if weights else (0.0, batch.cu_seqlens, 0)
        options = scaling, causal, sliding_window, p, seed, salt, needed
        return _on_cuda(query, key, value, batch, *options, own_kernels=own_kernels), None
    assert weights is None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    return _one_by_one(query, key, value, batch, scaling, causal, sliding_window, needed), None


AttentionInterface.register(ATTENTION, packed_attention)
AttentionInterface.register(TORCH_ATTENTION, partial(packed_attention, own_kernels=False))


def _on_cuda(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    batch: PackedBatch,
    scaling: float | None,
    causal: bool,
    window: int | None,
    p: float,
    seed: torch.Tensor,
    salt: int,
    needed: int | None,
    own_kernels: bool,
) -> torch.Tensor:
    q, k, v = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))
    known = q.shape[-1] in ATTENTION_HEAD_SIZES
    if own_kernels and known and not torch.compiler.is_compiling():  # which cannot look into our kernels
        from tuneoff.training.kernels.attention import attention

        return attention(q, k, v, batch.cu_seqlens, batch.max_seqlen, scaling, causal, window, p, seed, salt, needed)[
            None
        ]
    assert p == 0.0
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = (tensor.repeat_interleave(groups, dim=1) for tensor in (k, v))
    reach = -1 if window is None else window - 1
    if VARLEN_KNOWS_WINDOWS:
        limits: dict[str, Any] = {"window_size": (reach, 0 if causal else reach)}
    else:  # PyTorch 2.10 knows no windows
        assert window is None
        limits = {"is_causal": causal}
    out = varlen_attn(
        q, k, v, batch.cu_seqlens, batch.cu_seqlens, batch.max_seqlen, batch.max_seqlen, scale=scaling, **limits
    )
    assert isinstance(out, torch.Tensor)
    return out[None]


def _one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    batch: PackedBatch,
    scaling: float | None,
    causal: bool,
    window: int | None,
    needed: int | None,
) -> torch.Tensor:
    assert batch.lengths is not None
    pieces = []
    # In float32 also where the model is in bfloat16: on CPUs SDPA's bfloat16 backward takes twice as long.
    wide = (tensor.float().split(batch.lengths, dim=2) for tensor in (query, key, value))
    for q, k, v in zip(*wide, strict=True):
        mask = None
        if window is not None and q.shape[2] > window:
            distance = torch.arange(q.shape[2])[:, None] - torch.arange(q.shape[2])
            mask = (distance.abs() < window) & (distance >= 0 if causal else True)
        seen = q[:, :, :needed]
        piece = scaled_dot_product_attention(
            seen,
            k,
            v,
            attn_mask=None if mask is None else mask[:needed],
            scale=scaling,
            is_causal=causal and mask is None and q.shape[2] > 1,
        )
        pieces.append(pad(piece, (0, 0, 0, q.shape[2] - seen.shape[2])))
    return torch.cat(pieces, dim=2).transpose(1, 2).to(query.dtype)
