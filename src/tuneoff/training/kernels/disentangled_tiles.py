"""What the kernels of DeBERTa's attention share: how they are cut, and how scores by position are looked up.

A score is the sum of query times key, of the query times the embedding of their distance, and of the key times another
embedding of it. The latter two are products of tokens and buckets of distances (`products`), shape (heads, T, buckets),
from which a tile of scores takes, for each pair, the one of its distance: nothing of tokens by tokens is ever held.
For CUDA devices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.attention_tiles import Blocks

FORWARD = {32: Blocks(64, 32, 4, 2, 128), 64: Blocks(64, 32, 4, 2, 128), 128: Blocks(64, 64, 8, 2)}
QUERY_GRADIENT = {32: Blocks(64, 32, 4, 2), 64: Blocks(64, 32, 4, 2, 128), 128: Blocks(64, 32, 8, 2)}
KEY_GRADIENT = {32: Blocks(32, 64, 4, 2, 168), 64: Blocks(32, 64, 4, 2, 168), 128: Blocks(32, 64, 8, 2)}
"""By head size. A kernel's blocks of queries are no larger than those of the one above, whose results it reads."""
SUMS = (16, 64)
"""Tokens and buckets whose gradients one program sums."""


@dataclass(frozen=True)
class Call:
    """One call of the attention, as kernels are told of it.

    Attributes:
        cu_seqlens: where each sequence starts, and the end, int32.
        seed: shape (), int64.
        buckets: as in `Distances`; any tensor where nothing is looked up.
        reach, count: as there.
        max_seqlen, needed, scale, dropout_p, salt: as in `disentangled_attention`.
        first_head: the number of the first head, for dropout, where a kernel sees a few of them.
    """

    cu_seqlens: torch.Tensor
    seed: torch.Tensor
    buckets: torch.Tensor
    reach: int
    count: int
    max_seqlen: int
    needed: int
    scale: float
    dropout_p: float
    salt: int
    first_head: int = 0

    @property
    def sequences(self) -> int:
        """How many there are, empty ones counted."""
        return len(self.cu_seqlens) - 1

    @property
    def keep_scale(self) -> float:
        """What dropout multiplies weights by that it keeps."""
        return 1.0 / (1.0 - self.dropout_p)

    @property
    def dropout(self) -> tuple[torch.Tensor, int, int, float, int]:
        """The seed, its salt, the least signed 32-bit draw that is kept, the factor of what is kept, the first head."""
        threshold = round(self.dropout_p * (1 << 32)) - (1 << 31)
        return self.seed, self.salt, threshold, self.keep_scale, self.first_head

    @property
    def table(self) -> tuple[torch.Tensor, int, int]:
        """Where distances are looked up: buckets, the place of distance zero, how many buckets there are."""
        return self.buckets, self.reach - 1, self.count


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _look_up(  # type: ignore[no-untyped-def]
    products, buckets, centre, count, first_row, first_column, seqlen,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ROWS_ARE_QUERIES: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """A tile of products: of each row's token, that with the distance to the column's; zeros beyond the end.

    Neighbouring columns mostly have neighbouring buckets, so that threads of a row read side by side.
    """
    row, column = first_row + tl.arange(0, ROWS)[:, None], first_column + tl.arange(0, COLUMNS)[None, :]
    seen = (row < seqlen) & (column < seqlen)
    distance = column - row
    if ROWS_ARE_QUERIES:
        distance = row - column
    bucket = tl.load(buckets + centre + distance, mask=seen, other=0)
    return tl.load(products + row * count + bucket, mask=seen, other=0.0)


@triton.jit  # type: ignore[untyped-decorator]
def add_positions(  # type: ignore[no-untyped-def]
    scores, of_rows, of_columns, buckets, centre, count, first_row, first_column, seqlen,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, OF_ROWS: tl.constexpr, OF_COLUMNS: tl.constexpr,  # noqa: N803
    ROWS_ARE_QUERIES: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Adds to a tile of scores what rows' and columns' tokens make of their distances.

    The columns' products are read in a tile of columns by rows, whose threads read side by side as well.
    """
    if OF_ROWS:
        found = _look_up(
            of_rows, buckets, centre, count, first_row, first_column, seqlen, ROWS, COLUMNS, ROWS_ARE_QUERIES
        )
        scores += found.to(tl.float32)
    if OF_COLUMNS:
        found = _look_up(
            of_columns, buckets, centre, count, first_column, first_row, seqlen, COLUMNS, ROWS, not ROWS_ARE_QUERIES
        )
        scores += tl.trans(found).to(tl.float32)
    return scores


@triton.jit
def at_sequence(base, head, total_tokens, seq_start, width):  # type: ignore[no-untyped-def]
    """Where a sequence's rows begin in an array of shape (heads, T, width); in 64 bits, since it may be large."""
    return base + (head.to(tl.int64) * total_tokens + seq_start) * width
