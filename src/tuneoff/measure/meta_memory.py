"""The memory that tensors would take, added up while a computation is gone through on the meta device."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx.experimental import _config as meta_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

BLOCK = 512
"""PyTorch's CUDA allocator hands out multiples of it."""


ZEROS = {True: 0.0, False: 0}
"""What is read of a tensor without content, by whether it holds fractions."""


class MetaMemory(TorchDispatchMode):
    """Follows every storage on the meta device that an operation inside makes, until nothing refers to it any more.

    What is done on the meta device is done by the same code as elsewhere, and tensors live as long: so the sum of their
    sizes is what an allocator would have handed out, at each point of the forward and the backward pass. There is no
    content: what an operation reads of it is zero, a mask selects all, and what is brought to another device stays.

    Attributes:
        purpose: what the storages are for that are made from now on.
        live: bytes of storages that live, by purpose.
        at_peak: the same when there was most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.purpose = ""
        self.live: dict[str, int] = {}
        self.at_peak: dict[str, int] = {}
        self._total = self._peak = 0
        self._known: dict[int, tuple[str, int]] = {}

    def __enter__(self) -> MetaMemory:
        self._masks: Any = meta_config.patch(meta_nonzero_assume_all_nonzero=True)  # type: ignore[attr-defined]
        self._masks.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._masks.__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return ZEROS[args[0].dtype.is_floating_point]
        if func is torch.ops.aten._to_copy.default and args[0].is_meta and kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": args[0].device}
        out = func(*args, **kwargs)
        self.count(tensor for tensor in tree_leaves(out) if isinstance(tensor, torch.Tensor))
        return out

    @contextmanager
    def making(self, purpose: str) -> Iterator[None]:
        """What is made inside is for this."""
        before, self.purpose = self.purpose, purpose
        try:
            yield
        finally:
            self.purpose = before

    def count(self, tensors: Iterable[torch.Tensor]) -> None:
        """Counts tensors that are not counted yet, for the present purpose; such as were made outside."""
        for tensor in tensors:
            if not tensor.is_meta or tensor.layout is not torch.strided:  # others are made of such
                continue
            storage = tensor.untyped_storage()
            if storage._cdata in self._known:
                continue
            size = -(-storage.nbytes() // BLOCK) * BLOCK
            self._known[storage._cdata] = (self.purpose, size)
            self._add(self.purpose, size)
            weakref.finalize(storage, self._forget, storage._cdata).atexit = False

    def settle(self, tensor: torch.Tensor, purpose: str, size: int | None = None) -> None:
        """Counts a tensor for another purpose, and as so many bytes, where they are given."""
        key = tensor.untyped_storage()._cdata
        before, present = self._known[key]
        size = present if size is None else -(-size // BLOCK) * BLOCK
        self._known[key] = (purpose, size)
        self._add(before, -present)
        self._add(purpose, size)

    def settle_all(self, purpose: str, of: Iterable[str]) -> int:
        """Counts whatever lives for one of some purposes for another; returns how many bytes that are."""
        moved = sum(self.live.get(one, 0) for one in of)
        for key, (before, size) in list(self._known.items()):
            if before in of:
                self._known[key] = (purpose, size)
                self._add(before, -size)
                self._add(purpose, size)
        return moved

    def start_peak(self) -> None:
        """The most is looked for from now on."""
        self._peak = 0
        self._add(self.purpose, 0)

    def _add(self, purpose: str, size: int) -> None:
        self.live[purpose] = self.live.get(purpose, 0) + size
        self._total += size
        if self._total > self._peak:
            self._peak, self.at_peak = self._total, dict(self.live)

    def _forget(self, key: int) -> None:
        purpose, size = self._known.pop(key)
        self._add(purpose, -size)
