"""The processes that train one run together, a device each."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.training.parallel.process_rank import ProcessRank

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens

TIMEOUT = timedelta(days=1)
"""How long one waits for another, which may be writing a large file. The dead are noticed from outside, at once."""


class Ranks:
    """The processes of a run, seen from one of them; of one alone unless told otherwise.

    All of them call the same methods in the same order, apart from `shard`.

    Args:
        process: which of them this one is. Where there are several, they must be connected: see `connect`.
    """

    def __init__(self, process: ProcessRank | None = None) -> None:
        process = process or ProcessRank()
        self.rank, self.world_size = process.rank, process.world_size

    @classmethod
    def connect(cls, process: ProcessRank, device: torch.device) -> Ranks:
        """Waits for all the others and connects with them: through gloo, for tensors on GPUs through NCCL."""
        if process.world_size > 1:
            from torch import distributed

            for library in ("GLOO", "NCCL"):  # they are all on this machine, which may have no other network
                os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
            distributed.init_process_group(
                "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl",
                store=distributed.FileStore(process.rendezvous_file, process.world_size),  # type: ignore[attr-defined]
                rank=process.rank,
                world_size=process.world_size,
                timeout=TIMEOUT,
            )
        return cls(process)

    def disconnect(self) -> None:
        """Ends the connection; to be left out after a failure, where the others no longer answer."""
        if self.world_size > 1:
            torch.distributed.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and reports."""
        return self.rank == 0

    def shards(self, tokens: Tokens, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The rows of a batch of each process. No two shards differ by more than one row, nor much in tokens.

        Rows are dealt out longest first, and every other round in the opposite order.
        """
        if self.world_size == 1:
            return [rows]
        longest_first = np.argsort(-tokens.lengths[rows], kind="stable")
        turn, seat = np.divmod(np.arange(len(rows)), self.world_size)
        dealt_to = np.where(turn % 2 == 0, seat, self.world_size - 1 - seat)
        return [rows[longest_first[dealt_to == rank]] for rank in range(self.world_size)]

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Replaces a tensor by its sum over all processes."""
        if self.world_size > 1:
            torch.distributed.all_reduce(tensor)

    def begin_all_reduce(self, tensor: torch.Tensor) -> Any:
        """Begins to replace a tensor by its sum over all processes; it is there after `wait` of what is returned."""
        return torch.distributed.all_reduce(tensor, async_op=True)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank, in the first one; nothing in the others."""
        if self.world_size == 1:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.first else None
        torch.distributed.gather_object(value, values)
        return values or []

    def broadcast(self, answers: Sequence[bool]) -> list[bool]:
        """The answers of the first process, whatever this one's are."""
        if self.world_size == 1:
            return list(answers)
        told = torch.tensor(answers, dtype=torch.uint8)
        torch.distributed.broadcast(told, src=0)
        return [bool(answer) for answer in told]

    def barrier(self) -> None:
        """Waits until all have come here."""
        self.all_reduce(torch.zeros(()))
