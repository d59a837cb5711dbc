"""AdamW in three CUDA kernels, whatever the number of tensors. Imported on CUDA devices only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import nn

from tuneoff.training.optim.hyperparameters import BETAS, EPSILON, is_decayed, rate_factor

if TYPE_CHECKING:
    from tuneoff.spec import TrainingSpec

CHUNK = 1024
"""Elements of one tensor that a program of the kernels handles."""
FOLD = 8192

TRITON_TYPES = {torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _square_sums(gradients, tensors, starts, sizes, sums, TYPE: tl.constexpr, CHUNK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    chunk = tl.program_id(0)
    tensor = tl.load(tensors + chunk)
    address = tl.multiple_of(tl.load(gradients + tensor), 16)
    place = tl.multiple_of(tl.load(starts + chunk), 16) + tl.arange(0, CHUNK)
    inside = (place < tl.load(sizes + tensor)) & (address != 0)
    gradient = tl.load(address.to(tl.pointer_type(TYPE)) + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(sums + chunk, tl.sum(gradient * gradient))


@triton.jit  # type: ignore[untyped-decorator]
def _settle(sums, chunks, powers, settled, max_norm, FOLD: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """From the square sums to the factor that clips; from the betas' powers to the corrections of the moments."""
    total = tl.zeros((FOLD,), tl.float32)
    for start in range(0, chunks, FOLD):
        place = start + tl.arange(0, FOLD)
        total += tl.load(sums + place, mask=place < chunks, other=0.0)
    norm = tl.sqrt(tl.sum(total))
    tl.store(settled, tl.minimum(max_norm / (norm + 1e-6), 1.0))
    tl.store(settled + 1, (1 - tl.load(powers)).to(tl.float32))
    tl.store(settled + 2, tl.sqrt(1 - tl.load(powers + 1)).to(tl.float32))


@triton.jit  # type: ignore[untyped-decorator]
def _update(  # type: ignore[no-untyped-def]
    gradients, parameters, tensors, starts, sizes, places, decays, factors, masters, firsts, seconds, settled,
    learning_rate,
    BETA1: tl.constexpr, BETA2: tl.constexpr, EPSILON: tl.constexpr,  # noqa: N803
    TYPE: tl.constexpr, NARROW: tl.constexpr, CHUNK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    chunk = tl.program_id(0)
    tensor = tl.load(tensors + chunk)
    address = tl.multiple_of(tl.load(gradients + tensor), 16)
    start = tl.multiple_of(tl.load(starts + chunk), 16)
    place = start + tl.arange(0, CHUNK)
    inside = (place < tl.load(sizes + tensor)) & (address != 0)
    flat = tl.multiple_of(tl.load(places + tensor), 16) + place
    rate = tl.load(learning_rate) * tl.load(factors + tensor)
    gradient = tl.load(address.to(tl.pointer_type(TYPE)) + place, mask=inside, other=0.0).to(tl.float32)
    gradient *= tl.load(settled)
    first = tl.load(firsts + flat, mask=inside, other=0.0)
    second = tl.load(seconds + flat, mask=inside, other=0.0)
    master = tl.load(masters + flat, mask=inside, other=0.0)
    first += (gradient - first) * (1 - BETA1)
    second = second * BETA2 + gradient * gradient * (1 - BETA2)
    master *= 1 - rate * tl.load(decays + tensor)
    master -= rate / tl.load(settled + 1) * first / (tl.sqrt(second) / tl.load(settled + 2) + EPSILON)
    tl.store(firsts + flat, first, mask=inside)
    tl.store(seconds + flat, second, mask=inside)
    tl.store(masters + flat, master, mask=inside)
    if NARROW:
        target = tl.multiple_of(tl.load(parameters + tensor), 16).to(tl.pointer_type(TYPE))
        tl.store(target + place, master.to(TYPE), mask=inside)


class CudaAdamW:
    """The same updates as `MasterAdamW`, with masters and moments of all tensors in three flat float32 arrays.

    Clipping, moments, decay, update and rounding are one pass over the weights: 28 bytes a weight in bfloat16.
    A step can be captured in a CUDA graph; each capture remembers where its gradients lie.
    """

    def __init__(self, model: nn.Module, training: TrainingSpec) -> None:
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        device, dtype = self._trainable[0].device, self._trainable[0].dtype
        assert all(parameter.dtype == dtype for parameter in self._trainable)
        self._narrow = dtype != torch.float32
        self._type = TRITON_TYPES[dtype]
        self._max_grad_norm = training.max_grad_norm
        self.learning_rate = torch.zeros((), device=device)

        sizes = np.array([parameter.numel() for parameter in self._trainable])
        padded = -(-sizes // 16) * 16  # so that every tensor begins where wide loads may
        places = np.cumsum(padded) - padded
        chunks = -(-sizes // CHUNK)
        tensors = np.repeat(np.arange(len(sizes)), chunks)
        starts = (np.arange(len(tensors)) - np.repeat(np.cumsum(chunks) - chunks, chunks)) * CHUNK
        factors = [rate_factor(parameter) for parameter in self._trainable]
        decays = [training.weight_decay if is_decayed(parameter) else 0.0 for parameter in self._trainable]

        def on_device(values: Any, kind: torch.dtype = torch.int64) -> torch.Tensor:
            return torch.tensor(values, dtype=kind, device=device)

        self._tensors, self._starts = on_device(tensors), on_device(starts)
        self._sizes, self._places = on_device(sizes), on_device(places)
        self._decays, self._factors = on_device(decays, torch.float32), on_device(factors, torch.float32)
        self._masters = torch.zeros(int(padded.sum()), device=device)
        self._views = [
            self._masters[place : place + size].view_as(parameter)
            for place, size, parameter in zip(places.tolist(), sizes.tolist(), self._trainable, strict=True)
        ]
        with torch.no_grad():
            for view, parameter in zip(self._views, self._trainable, strict=True):
                view.copy_(parameter)
                if not self._narrow:
                    parameter.data = view
        self._parameters = on_device([parameter.data_ptr() for parameter in self._trainable])
        self._firsts, self._seconds = torch.zeros_like(self._masters), torch.zeros_like(self._masters)
        self._betas = torch.tensor(BETAS, dtype=torch.float64, device=device)
        self._powers = torch.ones_like(self._betas)
        self._square_sums = torch.zeros(len(tensors), device=device)
        self._settled = torch.zeros(3, device=device)
        self._addresses = torch.zeros_like(self._parameters)
        self._known: list[int] = []
        self._spare: torch.Tensor | None = None
        self._captured: list[torch.Tensor] = []

    @torch.no_grad()
    def step(self) -> None:
        """Clips the gradients to the maximal norm, updates the weights and drops the gradients.

        A parameter without a gradient is left as it is.
        """
        addresses = self._bring_addresses()
        grid = (len(self._square_sums),)
        chunks = (self._tensors, self._starts, self._sizes)
        self._powers.mul_(self._betas)
        _square_sums[grid](addresses, *chunks, self._square_sums, TYPE=self._type, CHUNK=CHUNK)
        _settle[(1,)](
            self._square_sums, grid[0], self._powers, self._settled, self._max_grad_norm, FOLD=FOLD, num_warps=16
        )
        _update[grid](
            addresses, self._parameters, *chunks, self._places, self._decays, self._factors, self._masters,
            self._firsts, self._seconds, self._settled, self.learning_rate, BETA1=BETAS[0], BETA2=BETAS[1],
            EPSILON=EPSILON, TYPE=self._type, NARROW=self._narrow, CHUNK=CHUNK,
        )  # fmt: skip
        for parameter in self._trainable:
            parameter.grad = None

    def _bring_addresses(self) -> torch.Tensor:
        """Where each gradient lies, 0 where there is none, as a tensor on the device; shape (tensors,)."""
        found = []
        for parameter in self._trainable:
            assert parameter.grad is None or (
                parameter.grad.is_contiguous() and parameter.grad.dtype == parameter.dtype
            )
            found.append(0 if parameter.grad is None else parameter.grad.data_ptr())
        on_cuda = self._addresses.is_cuda  # Triton also interprets these kernels on a CPU
        if on_cuda and torch.cuda.is_current_stream_capturing():
            # The copy is replayed with the graph, so what it reads stays; pinned memory cannot be had in a capture.
            assert self._spare is not None, "a step comes before each capture"
            self._captured.append(self._spare.copy_(torch.tensor(found)))
            self._spare = None
            return self._captured[-1].to(self._addresses.device, non_blocking=True)
        if self._spare is None:
            self._spare = torch.empty(len(found), dtype=torch.int64, pin_memory=on_cuda)
        if found != self._known:
            self._addresses.copy_(torch.tensor(found))
            self._known = found
        return self._addresses

    def forget(self) -> None:
        """Sets all moments back to zero and the steps too, in place."""
        self._firsts.zero_()
        self._seconds.zero_()
        self._powers.fill_(1.0)

    def state(self) -> Any:
        """Masters, moments and the betas' powers, for `restore`."""
        return {
            "masters": self._masters,
            "firsts": self._firsts,
            "seconds": self._seconds,
            "powers": self._powers,
        }

    @torch.no_grad()
    def restore(self, state: Any) -> None:
        """Takes over what `state` returned, and with it the weights; in place, so that captured steps see it."""
        for name, value in self.state().items():
            value.copy_(state[name])
        if self._narrow:
            for view, parameter in zip(self._views, self._trainable, strict=True):
                parameter.copy_(view)
