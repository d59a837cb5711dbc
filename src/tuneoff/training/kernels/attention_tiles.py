"""What the attention kernels of both directions share: how work is cut into tiles, masks, dropout. For CUDA devices.

A program holds a block of queries (or of keys, for their gradients) of one sequence and head, and walks over the
keys (queries) that it may see. Programs are launched for as many blocks as the longest sequence may have; those
beyond their sequence's end return at once. So the grid depends on nothing that lies on the device: a CUDA graph fixes
it at capture, while each replay brings sequences of other lengths, and reading lengths back would stop the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl


@dataclass(frozen=True)
class Blocks:
    """How a kernel is cut.

    Attributes:
        queries, keys: sides of a tile of scores.
        warps: of a program.
        stages: tiles on their way from memory at a time.
        registers: most that a thread may use, so that more programs fit a multiprocessor; no limit if None.
        split: whether tiles that need no mask have a loop of their own; of kernels that go over keys only.
    """

    queries: int
    keys: int
    warps: int
    stages: int
    registers: int | None = None
    split: bool = True

    @property
    def options(self) -> dict[str, int | None]:
        """As keyword arguments of a launch."""
        return {
            "M": self.queries,
            "N": self.keys,
            "num_warps": self.warps,
            "num_stages": self.stages,
            "maxnreg": self.registers,
        }


# Found by `benchmarks/attention.py --tune` on reviews of some 260 tokens. Sequences are short, so that tiles of 64 win
# over those of 128, much of which would lie beyond a sequence's end; and with at most 128 registers a thread, four
# programs share a multiprocessor and hide each other's waits. Loops without a mask do not pay for so few tiles.
FORWARD = {
    32: Blocks(64, 64, 4, 3, 128, split=False),
    64: Blocks(64, 64, 4, 3, 128, split=False),
    128: Blocks(128, 64, 8, 2, split=False),
}
QUERY_GRADIENT = {
    32: Blocks(64, 32, 4, 3, 128, split=False),
    64: Blocks(64, 32, 4, 3, 128, split=False),
    128: Blocks(64, 64, 4, 2, split=False),
}
KEY_GRADIENT = {32: Blocks(64, 64, 4, 3), 64: Blocks(64, 64, 4, 3), 128: Blocks(32, 64, 4, 2)}
"""By head size. All sides are multiples of 16. A kernel's blocks of queries are no larger than those of the one above,
whose results it reads."""


@dataclass(frozen=True)
class Options:
    """What the kernels of both directions are told; see `attention`."""

    max_seqlen: int
    needed: int
    scale: float
    causal: bool
    window: int | None
    dropout_p: float
    salt: int

    def dropout(self, seed: torch.Tensor) -> tuple[torch.Tensor, int, int, float]:
        """The seed, its salt, the least signed 32-bit draw that is kept, and the factor of what is kept."""
        threshold = round(self.dropout_p * (1 << 32)) - (1 << 31)
        return seed, self.salt, threshold, 1.0 / (1.0 - self.dropout_p)

    def constants(self, query: torch.Tensor, key: torch.Tensor) -> dict[str, int | bool]:
        """Constants of a kernel: what is compiled into it."""
        return {
            "GROUP": query.shape[1] // key.shape[1],
            "D": query.shape[2],
            "CAUSAL": self.causal,
            "WINDOW": self.window is not None,
            "DROP": self.dropout_p > 0,
        }


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def locate_block(cu_seqlens, num_blocks, heads, SIDE: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """A program's work: where its sequence starts, the sequence's length, the head, the block's first token.

    Blocks of one sequence and head are neighbours in the grid, so that what they share stays in the cache.
    """
    program = tl.program_id(0)
    block_start = program % num_blocks * SIDE
    head = program // num_blocks % heads
    sequence = program // num_blocks // heads
    seq_start = tl.load(cu_seqlens + sequence)
    return seq_start, tl.load(cu_seqlens + sequence + 1) - seq_start, head, block_start


@triton.jit  # type: ignore[untyped-decorator]
def is_visible(query, key, seqlen, window, CAUSAL: tl.constexpr, WINDOW: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Whether a query may see a key of its sequence, both counted from the sequence's first token."""
    visible = key < seqlen
    if CAUSAL:
        visible = visible & (key <= query)
    if WINDOW:
        visible = visible & (query - key < window) & (key - query < window)
    return visible


@triton.jit  # type: ignore[untyped-decorator]
def _interleave(a, b, c, d, ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Four tiles of half the height and width as one; bit 3 of an element's row and column says which it is of.

    On tensor cores, bit 3 of row and column tell apart elements that one thread holds, whichever way round a tile is:
    so the draws need not travel between threads.
    """
    tile = tl.join(tl.join(a, b), tl.join(c, d))
    tile = tl.reshape(tile, (ROWS // 16, 8, COLUMNS // 16, 8, 2, 2))
    return tl.reshape(tl.permute(tile, (0, 5, 1, 2, 4, 3)), (ROWS, COLUMNS))


@triton.jit  # type: ignore[untyped-decorator]
def keep_mask(  # type: ignore[no-untyped-def]
    seed, seq_start, head, query, key, threshold,
    M: tl.constexpr, N: tl.constexpr, KEYS_FIRST: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Which weights dropout keeps, in the tile of queries from `query` and keys from `key` (multiples of 16).

    A function of the element's place alone, so that forward and backward draw the same from tiles of any shape, and no
    mask is stored, which would take as much memory as all the scores. Philox gives four words a draw, which serve two
    queries and two keys, each eight apart; seven rounds are the fewest that pass BigCrush (Salmon et al. 2011).
    """
    queries = query // 2 + tl.arange(0, M // 2)
    keys = key // 2 + tl.arange(0, N // 2)
    if KEYS_FIRST:
        a, b, c, d = tl.philox(seed, queries[None, :], keys[:, None], head, seq_start, 7)
        words = _interleave(a, c, b, d, N, M)
    else:
        a, b, c, d = tl.philox(seed, queries[:, None], keys[None, :], head, seq_start, 7)
        words = _interleave(a, b, c, d, M, N)
    return words.to(tl.int32, bitcast=True) >= threshold


@triton.jit  # type: ignore[untyped-decorator]
def load_rows(base, row_start, seqlen, stride, COUNT: tl.constexpr, D: tl.constexpr, MASKED: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """Tokens from `row_start` on of one sequence and head; zeros beyond its end, where the next sequence begins."""
    row = tl.arange(0, COUNT)[:, None]
    pointers = base + row_start * stride + row * stride + tl.arange(0, D)[None, :]
    if MASKED:
        return tl.load(pointers, mask=row < seqlen - row_start, other=0.0)
    return tl.load(pointers)


@triton.jit  # type: ignore[untyped-decorator]
def store_rows(base, row_start, seqlen, stride, value, COUNT: tl.constexpr, D: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """The opposite of `load_rows`."""
    row = tl.arange(0, COUNT)[:, None]
    pointers = base + row_start * stride + row * stride + tl.arange(0, D)[None, :]
    tl.store(pointers, value.to(base.dtype.element_ty), mask=row < seqlen - row_start)


@triton.jit  # type: ignore[untyped-decorator]
def keys_seen(  # type: ignore[no-untyped-def]
    block_start, seqlen, window,
    M: tl.constexpr, N: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """For a block of queries: first key seen by any, first and end of the blocks seen whole by all, end."""
    begin, end = 0, seqlen
    whole, whole_end = 0, seqlen
    if WINDOW:
        begin = tl.maximum(block_start - window + 1, 0) // N * N
        whole = (tl.maximum(block_start + M - window, 0) + N - 1) // N * N
        end = tl.minimum(end, block_start + M - 1 + window)
        whole_end = tl.minimum(whole_end, block_start + window)
    if CAUSAL:
        end = tl.minimum(end, block_start + M)
        whole_end = tl.minimum(whole_end, block_start + 1)
    whole = tl.minimum(whole, end)
    return begin, whole, tl.maximum(whole_end // N * N, whole), end
