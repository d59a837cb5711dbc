"""Tuneoff's attention kernels against PyTorch's variable-length ones, on one GPU.

    python benchmarks/attention.py            # a table: microseconds a layer, and TFLOP/s
    python benchmarks/attention.py --tune     # first finds the best blocks for each kernel, and says so

Each figure is the median over replays of a CUDA graph. Forward counts 4 and backward 10 operations for each pair of
tokens that see one another, head and element of a head, as a method that computes scores once more would need.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn

from tuneoff.training.kernels import attention_tiles
from tuneoff.training.kernels.attention import attention
from tuneoff.training.kernels.attention_tiles import Blocks

HEADS, REPEATS, CALLS = 12, 15, 10

CANDIDATES: dict[str, list[Blocks]] = {
    "FORWARD": [
        Blocks(128, 64, 8, 3, 128, split=False),
        Blocks(128, 64, 8, 2, 128, split=False),
        Blocks(64, 64, 4, 2, 128, split=False),
        Blocks(64, 64, 4, 3, 128, split=False),
        Blocks(128, 64, 8, 3, 128, split=True),
        Blocks(128, 128, 8, 2, None, split=False),
    ],
    "QUERY_GRADIENT": [
        Blocks(128, 64, 8, 2, 128, split=False),
        Blocks(128, 64, 8, 3, 128, split=False),
        Blocks(64, 64, 4, 2, 168, split=False),
        Blocks(64, 64, 4, 3, 168, split=False),
        Blocks(64, 32, 4, 3, 128, split=False),
        Blocks(128, 64, 8, 2, 128, split=True),
    ],
    "KEY_GRADIENT": [
        Blocks(64, 64, 4, 2),
        Blocks(64, 64, 4, 3),
        Blocks(64, 64, 4, 2, 168),
        Blocks(32, 64, 4, 3, 168),
        Blocks(64, 128, 8, 2),
        Blocks(32, 128, 8, 3, 128),
    ],
}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="try other blocks first")
    parser.add_argument("--head-size", type=int, default=64)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    lengths = distributions()
    print(torch.cuda.get_device_name(), "head size", arguments.head_size)
    with torch.cuda.stream(torch.cuda.Stream()):  # the default one cannot be captured
        if arguments.tune:
            for dropout_p in (0.1, 0.0):
                tune(lengths["reviews, cut at 512"], arguments.head_size, dropout_p)
        print(f"{'lengths':24} {'tokens':>7} {'':8} {'':14} {'forward':>16} {'backward':>16}")
        for name, drawn in lengths.items():
            for causal in (False, True):
                compare(name, drawn, arguments.head_size, causal)


def distributions() -> dict[str, list[int]]:
    """Lengths of the sequences of a batch."""
    reviews = torch.empty(63).log_normal_(5.45, 0.6).clamp(20, 512).int().tolist()
    short = torch.empty(256).log_normal_(3.0, 0.6).clamp(3, 128).int().tolist()
    return {
        "reviews, cut at 512": reviews,
        "sentences": short,
        "all 512": [512] * 32,
        "64,000 tokens, of 256": [256] * 250,
        "long": [2048, 4096, 8192],
    }


class Case:
    """Inputs of a layer, and how long kernels take on them."""

    def __init__(self, lengths: list[int], size: int, causal: bool) -> None:
        self.lengths, self.causal = lengths, causal
        tokens, width = sum(lengths), HEADS * size
        self.inputs = [
            torch.randn(tokens, width, device="cuda", dtype=torch.bfloat16).view(-1, HEADS, size).requires_grad_()
            for _ in range(3)
        ]
        self.upstream = torch.randn(tokens, HEADS, size, device="cuda", dtype=torch.bfloat16)
        self.cu_seqlens = torch.tensor([0, *itertools.accumulate(lengths)], device="cuda", dtype=torch.int32)
        self.seed = torch.tensor(5, device="cuda")
        pairs = sum(length * (length + 1) / 2 if causal else length * length for length in lengths)
        self.operations = (4 * pairs * width, 10 * pairs * width)

    def ours(self, dropout_p: float) -> torch.Tensor:
        """Tuneoff's."""
        query, key, value = self.inputs
        max_seqlen = max(self.lengths)
        return attention(
            query, key, value, self.cu_seqlens, max_seqlen, None, self.causal, None, dropout_p, self.seed, 3
        )

    def theirs(self) -> torch.Tensor:
        """PyTorch's."""
        query, key, value = self.inputs
        max_seqlen = max(self.lengths)
        limits: dict[str, Any] = {"window_size": (-1, 0 if self.causal else -1)}
        out = varlen_attn(query, key, value, self.cu_seqlens, self.cu_seqlens, max_seqlen, max_seqlen, **limits)
        assert isinstance(out, torch.Tensor)
        return out

    def times(self, attend: Callable[[], torch.Tensor]) -> tuple[float, float]:
        """Microseconds of the forward and the backward pass."""
        forward = timed(attend)
        return forward, timed(lambda: torch.autograd.grad(attend(), self.inputs, self.upstream)) - forward


def timed(call: Callable[[], Any]) -> float:
    """Median microseconds of a call, replayed as part of a CUDA graph."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(CALLS):
            call()
    graph.replay()
    spent = []
    for _ in range(REPEATS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        spent.append(1000 * begin.elapsed_time(end) / CALLS)
    return sorted(spent)[REPEATS // 2]


def compare(name: str, lengths: list[int], size: int, causal: bool) -> None:
    """Prints a row for PyTorch's kernels, for ours, and for ours with dropout."""
    case = Case(lengths, size, causal)
    ours, theirs = case.ours(0.0), case.theirs()
    gradients = zip(
        torch.autograd.grad(ours, case.inputs, case.upstream),
        torch.autograd.grad(theirs, case.inputs, case.upstream),
        strict=True,
    )
    for found, expected in [(ours, theirs), *gradients]:
        error = (found.float() - expected.float()).norm() / expected.float().norm()
        assert error < 0.01, (name, causal, error)
    for label, attend in (
        ("PyTorch", case.theirs),
        ("ours", lambda: case.ours(0.0)),
        ("ours, dropout", lambda: case.ours(0.1)),
    ):
        figures = [
            f"{spent:8.1f} us {operations / spent / 1e6:5.0f}"
            for spent, operations in zip(case.times(attend), case.operations, strict=True)
        ]
        print(f"{name:24} {sum(lengths):7} {'causal' if causal else '':8} {label:14} {' '.join(figures)}", flush=True)


def tune(lengths: list[int], size: int, dropout_p: float) -> None:
    """Puts the fastest blocks for each kernel into its table."""
    case = Case(lengths, size, causal=False)
    for kernel, candidates in CANDIDATES.items():
        table: dict[int, Blocks] = getattr(attention_tiles, kernel)
        found = []
        for blocks in candidates:
            table[size] = blocks
            try:
                spent = case.times(lambda: case.ours(dropout_p))[kernel != "FORWARD"]  # backward: both its kernels
            except Exception as error:  # too much shared memory, say
                print(f"{kernel:16} {blocks}: {str(error).splitlines()[0]}")
                continue
            found.append((spent, blocks))
            print(f"{kernel:16} dropout {dropout_p} {blocks}: {spent:.1f} us", flush=True)
        table[size] = min(found, key=lambda pair: pair[0])[1]
        print(f"{kernel:16} best: {table[size]}")


if __name__ == "__main__":
    main()
