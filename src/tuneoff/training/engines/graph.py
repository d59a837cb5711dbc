"""A whole optimiser step as one CUDA graph: forward, backward, clipping, update, schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.training.engines.packing import Layout, PackedBatch

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens

MOST_SIZES = 12
STEPS_OF_ONE_SIZE = 64
SLOT = 64
STAGING_BUFFERS = 8


def token_sizes(totals: NDArray[np.int64]) -> list[int]:
    """The buffer sizes, each a multiple of 64, that leave least room unused by batches of the given totals.

    There are about as many as take the least time together with their capture: what one more saves shrinks with the
    square of their number (of reviews cut at 512 tokens, 16 a step, 38% is unused with one size, 10% with three, 2.9%
    with ten), and its capture takes a tenth to a fifth of a second, as long as 20 to 50 steps.
    """
    most = min(MOST_SIZES, max(1, round((len(totals) / STEPS_OF_ONE_SIZE) ** 0.5)))
    slots, counts = np.unique(-(-totals // SLOT) * SLOT, return_counts=True)
    batches = np.concatenate([[0], np.cumsum(counts)])
    # least[j]: the least sum of sizes over the batches of the j smallest slots, with as many sizes as turns taken.
    least, cuts = np.where(np.arange(len(slots) + 1) == 0, 0.0, np.inf), []
    for _ in range(min(len(slots), most)):
        sums = least[:, None] + (batches[None, 1:] - batches[:, None]) * slots[None, :]
        sums[np.arange(len(slots) + 1)[:, None] > np.arange(len(slots))[None, :]] = np.inf
        cuts.append(sums.argmin(axis=0))
        least = np.concatenate([[np.inf], sums.min(axis=0)])
    sizes, end = [], len(slots)
    for cut in reversed(cuts):
        sizes.append(int(slots[end - 1]))
        end = int(cut[end - 1])
    assert end == 0
    return sizes[::-1]


class GraphMemory:
    """What the graphs of a run share, since only one runs at a time: a stream to capture on, and a memory pool.

    One stream for all warm-ups and captures: with a second one, gradients would be kept until a capture ends.

    Args:
        device: of the run's process.
        others: whether steps exchange messages with other processes. A thread of PyTorch's looks after these, and may
            ask the driver for things that no thread may ask for during a capture, unless only this one's count.
    """

    def __init__(self, device: torch.device, others: bool = False) -> None:
        self.device = device
        self.error_mode = "thread_local" if others else "global"
        self.stream = torch.cuda.Stream(device)
        self.pool: Any = torch.cuda.graph_pool_handle()


class StepGraph:
    """The step for batches of up to a number of tokens.

    Args:
        layout: of its batches.
        tokens: from which a first batch is taken to warm up; the learning rate is zero then, so weights stay.
        step: does a step on a batch that lies in device memory.
        memory: shared by all graphs of the run.
    """

    def __init__(
        self,
        layout: Layout,
        tokens: Tokens,
        step: Callable[[PackedBatch], None],
        memory: GraphMemory,
    ) -> None:
        self.layout = layout
        self._staging = [torch.empty(layout.size, dtype=torch.int32, pin_memory=True) for _ in range(STAGING_BUFFERS)]
        self._copied = [torch.cuda.Event() for _ in self._staging]
        self._turn = 0
        self._static = torch.empty(layout.size, dtype=torch.int32, device=memory.device)
        self._graph = torch.cuda.CUDAGraph()
        batch = layout.views(self._static, lengths=None)
        self._stage(tokens, _rows_that_fill(layout, tokens), total_weight=1.0, learning_rate=0.0)
        outer = torch.cuda.current_stream(memory.device)
        memory.stream.wait_stream(outer)
        with torch.cuda.stream(memory.stream):
            step(batch)
        torch.cuda.synchronize(memory.device)
        torch.cuda.empty_cache()
        try:
            with torch.cuda.graph(
                self._graph, pool=memory.pool, stream=memory.stream, capture_error_mode=memory.error_mode
            ):
                step(batch)
        finally:
            # Where a capture fails, PyTorch leaves its stream the current one. What others start on the default stream
            # would then not wait for it: bitsandbytes quantises there, and read weights before they were written.
            torch.cuda.set_stream(outer)

    def holds(self, tokens: int, sequences: int) -> bool:
        """Whether a batch fits: neither too many tokens, nor so few that the spare sequences cannot fill it up."""
        layout = self.layout
        return sequences <= layout.sequences and tokens <= layout.tokens <= tokens + layout.spare * layout.max_seqlen

    def replay(self, tokens: Tokens, rows: NDArray[np.int64], total_weight: float, learning_rate: float) -> None:
        """Does a step on rows whose classes have this sum of weights; returns once it is queued."""
        self._stage(tokens, rows, total_weight, learning_rate)
        self._graph.replay()

    def _stage(self, tokens: Tokens, rows: NDArray[np.int64], total_weight: float, learning_rate: float) -> None:
        """Builds a batch in pinned memory while the device works on earlier steps, and queues its copy."""
        turn = self._turn = (self._turn + 1) % STAGING_BUFFERS
        self._copied[turn].synchronize()
        self.layout.fill(self._staging[turn].numpy(), tokens, rows, total_weight, learning_rate)
        self._static.copy_(self._staging[turn], non_blocking=True)
        self._copied[turn].record()


def _rows_that_fill(layout: Layout, tokens: Tokens) -> NDArray[np.int64]:
    """Rows of a batch that fits the layout."""
    order = np.argsort(tokens.lengths, kind="stable")
    rows: list[int] = []
    total = 0
    for row in order[::-1]:
        if len(rows) < layout.sequences and total + tokens.lengths[row] <= layout.tokens:
            rows.append(int(row))
            total += int(tokens.lengths[row])
    return np.array(rows)
