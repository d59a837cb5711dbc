"""AdamW in three CUDA kernels, whatever the number of tensors. Imported on CUDA devices only.

Programs work on chunks of one tensor each, and tables on the device say which: so one launch serves hundreds of tensors
of all sizes, where a launch a tensor would take longer than its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import nn

from tuneoff.training.kernels.launch import launch
from tuneoff.training.optim.hyperparameters import BETAS, EPSILON, rate_factor

CHUNK = 1024
"""Elements of one tensor that a program of the kernels handles."""
FOLD = 8192
"""Of the chunks' sums that the kernel which adds them up reads at a time."""
TABLE = 512
"""Of the tensors that it corrects at a time."""

TRITON_TYPES = {torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _square_sums(gradients, tensors, starts, sizes, sums, TYPE: tl.constexpr, CHUNK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """The sum of a chunk's squares, for the norm; `_settle` adds them up in a fixed order, as atomics would not."""
    chunk = tl.program_id(0)
    tensor = tl.load(tensors + chunk)
    address = tl.multiple_of(tl.load(gradients + tensor), 16)
    element = tl.multiple_of(tl.load(starts + chunk), 16) + tl.arange(0, CHUNK)
    inside = (element < tl.load(sizes + tensor)) & (address != 0)
    gradient = tl.load(address.to(tl.pointer_type(TYPE)) + element, mask=inside, other=0.0).to(tl.float32)
    tl.store(sums + chunk, tl.sum(gradient * gradient))


@triton.jit  # type: ignore[untyped-decorator]
def _settle(  # type: ignore[no-untyped-def]
    gradients, sums, chunks, beta_powers, betas, clip_factor, bias_corrections, tensors, max_norm,
    FOLD: tl.constexpr, TABLE: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """What the updates of a step need: the factor that clips, from square sums, and each tensor's bias corrections.

    A tensor's steps are counted as the powers of the betas, in float64, which go on where it has a gradient.
    One program does it all: there are few tensors, and what it writes is read by the launch after.
    """
    total = tl.zeros((FOLD,), tl.float32)
    for start in range(0, chunks, FOLD):
        chunk = start + tl.arange(0, FOLD)
        total += tl.load(sums + chunk, mask=chunk < chunks, other=0.0)
    norm = tl.sqrt(tl.sum(total))
    tl.store(clip_factor, tl.minimum(max_norm / (norm + 1e-6), 1.0))
    beta1, beta2 = tl.load(betas), tl.load(betas + 1)
    for start in range(0, tensors, TABLE):
        tensor = start + tl.arange(0, TABLE)
        inside = tensor < tensors
        steps = tl.load(gradients + tensor, mask=inside, other=0) != 0
        power1 = tl.load(beta_powers + 2 * tensor, mask=inside, other=1.0)
        power2 = tl.load(beta_powers + 2 * tensor + 1, mask=inside, other=1.0)
        power1 = tl.where(steps, power1 * beta1, power1)
        power2 = tl.where(steps, power2 * beta2, power2)
        tl.store(beta_powers + 2 * tensor, power1, mask=inside)
        tl.store(beta_powers + 2 * tensor + 1, power2, mask=inside)
        tl.store(bias_corrections + 2 * tensor, (1 - power1).to(tl.float32), mask=inside)
        tl.store(bias_corrections + 2 * tensor + 1, tl.sqrt(1 - power2).to(tl.float32), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _update(  # type: ignore[no-untyped-def]
    gradients, parameters, tensors, starts, sizes, offsets, decays, rate_factors, masters, exp_avgs, exp_avg_sqs,
    clip_factor, bias_corrections, learning_rate,
    BETA1: tl.constexpr, BETA2: tl.constexpr, EPSILON: tl.constexpr,  # noqa: N803
    TYPE: tl.constexpr, NARROW: tl.constexpr, CHUNK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """One pass over all that belongs to a weight; what it is bound by is the 28 bytes a weight in bfloat16."""
    chunk = tl.program_id(0)
    tensor = tl.load(tensors + chunk)
    address = tl.multiple_of(tl.load(gradients + tensor), 16)
    start = tl.multiple_of(tl.load(starts + chunk), 16)
    element = start + tl.arange(0, CHUNK)
    inside = (element < tl.load(sizes + tensor)) & (address != 0)
    flat = tl.multiple_of(tl.load(offsets + tensor), 16) + element
    rate = tl.load(learning_rate) * tl.load(rate_factors + tensor)
    gradient = tl.load(address.to(tl.pointer_type(TYPE)) + element, mask=inside, other=0.0).to(tl.float32)
    gradient *= tl.load(clip_factor)
    exp_avg = tl.load(exp_avgs + flat, mask=inside, other=0.0)
    exp_avg_sq = tl.load(exp_avg_sqs + flat, mask=inside, other=0.0)
    master = tl.load(masters + flat, mask=inside, other=0.0)
    exp_avg += (gradient - exp_avg) * (1 - BETA1)
    exp_avg_sq = exp_avg_sq * BETA2 + gradient * gradient * (1 - BETA2)
    correction1 = tl.load(bias_corrections + 2 * tensor)
    correction2_sqrt = tl.load(bias_corrections + 2 * tensor + 1)
    master *= 1 - rate * tl.load(decays + tensor)
    master -= rate / correction1 * exp_avg / (tl.sqrt(exp_avg_sq) / correction2_sqrt + EPSILON)
    tl.store(exp_avgs + flat, exp_avg, mask=inside)
    tl.store(exp_avg_sqs + flat, exp_avg_sq, mask=inside)
    tl.store(masters + flat, master, mask=inside)
    if NARROW:
        target = tl.multiple_of(tl.load(parameters + tensor), 16).to(tl.pointer_type(TYPE))
        tl.store(target + element, master.to(TYPE), mask=inside)


class CudaAdamW:
    """The same updates as `MasterAdamW`, with masters and moments of all tensors in three flat float32 arrays.

    Clipping, moments, decay, update and rounding are one pass over the weights: 28 bytes a weight in bfloat16.
    A step can be captured in a CUDA graph; each capture remembers where its gradients lie.

    Args:
        parameters: all that are trained, of one dtype.
        decays: the weight decay of each.
        max_grad_norm: gradients are clipped to this norm, over all of them together.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decays: Sequence[float], max_grad_norm: float) -> None:
        self._parameters = parameters
        device, dtype = parameters[0].device, parameters[0].dtype
        assert all(parameter.dtype == dtype for parameter in parameters)
        self._narrow = dtype != torch.float32
        self._type = TRITON_TYPES[dtype]
        self._max_grad_norm = max_grad_norm
        self.learning_rate = torch.zeros((), device=device)

        sizes = np.array([parameter.numel() for parameter in parameters])
        padded = -(-sizes // 16) * 16  # so that every tensor begins where wide loads may
        offsets = np.cumsum(padded) - padded
        chunks = -(-sizes // CHUNK)
        tensors = np.repeat(np.arange(len(sizes)), chunks)
        starts = (np.arange(len(tensors)) - np.repeat(np.cumsum(chunks) - chunks, chunks)) * CHUNK

        def on_device(values: Any, kind: torch.dtype = torch.int64) -> torch.Tensor:
            return torch.tensor(values, dtype=kind, device=device)

        self._tensors, self._starts = on_device(tensors), on_device(starts)
        self._sizes, self._offsets = on_device(sizes), on_device(offsets)
        self._decays = on_device(list(decays), torch.float32)
        self._rate_factors = on_device([rate_factor(parameter) for parameter in parameters], torch.float32)
        self._masters = torch.zeros(int(padded.sum()), device=device)
        self._master_views = [
            self._masters[offset : offset + size].view_as(parameter)
            for offset, size, parameter in zip(offsets.tolist(), sizes.tolist(), parameters, strict=True)
        ]
        with torch.no_grad():
            for view, parameter in zip(self._master_views, parameters, strict=True):
                view.copy_(parameter)
                if not self._narrow:
                    parameter.data = view
        self._addresses = on_device([parameter.data_ptr() for parameter in parameters])
        self._exp_avg, self._exp_avg_sq = torch.zeros_like(self._masters), torch.zeros_like(self._masters)
        self._betas = torch.tensor(BETAS, dtype=torch.float64, device=device)
        self._beta_powers = torch.ones(len(sizes), 2, dtype=torch.float64, device=device)
        self._square_sums = torch.zeros(len(tensors), device=device)
        self._clip_factor = torch.zeros((), device=device)
        self._bias_corrections = torch.zeros(len(sizes), 2, device=device)
        self._gradient_addresses = torch.zeros_like(self._addresses)
        self._last_found: list[int] = []
        self._spare: torch.Tensor | None = None
        self._captured: list[torch.Tensor] = []

    @torch.no_grad()
    def step(self) -> None:
        """Clips the gradients to the maximal norm, updates the weights and drops the gradients.

        A parameter without a gradient is left as it is.
        """
        gradients = self._bring_gradient_addresses()
        grid = (len(self._square_sums),)
        chunks = (self._tensors, self._starts, self._sizes)
        launch(_square_sums, grid, gradients, *chunks, self._square_sums, TYPE=self._type, CHUNK=CHUNK)
        launch(
            _settle, (1,),
            gradients, self._square_sums, grid[0], self._beta_powers, self._betas, self._clip_factor,
            self._bias_corrections, len(self._parameters), self._max_grad_norm, FOLD=FOLD, TABLE=TABLE,
            num_warps=16,
        )  # fmt: skip
        launch(
            _update, grid,
            gradients, self._addresses, *chunks, self._offsets, self._decays, self._rate_factors, self._masters,
            self._exp_avg, self._exp_avg_sq, self._clip_factor, self._bias_corrections, self.learning_rate,
            BETA1=BETAS[0], BETA2=BETAS[1], EPSILON=EPSILON, TYPE=self._type, NARROW=self._narrow, CHUNK=CHUNK,
        )  # fmt: skip
        for parameter in self._parameters:
            parameter.grad = None

    def _bring_gradient_addresses(self) -> torch.Tensor:
        """Where each gradient lies, 0 where there is none, as a tensor on the device; shape (tensors,)."""
        found = []
        for parameter in self._parameters:
            assert parameter.grad is None or (
                parameter.grad.is_contiguous() and parameter.grad.dtype == parameter.dtype
            )
            found.append(0 if parameter.grad is None else parameter.grad.data_ptr())
        on_cuda = self._gradient_addresses.is_cuda  # Triton also interprets these kernels on a CPU
        if on_cuda and torch.cuda.is_current_stream_capturing():
            # The copy is replayed with the graph, so what it reads stays; pinned memory cannot be had in a capture.
            assert self._spare is not None, "a step comes before each capture"
            self._captured.append(self._spare.copy_(torch.tensor(found)))
            self._spare = None
            return self._captured[-1].to(self._gradient_addresses.device, non_blocking=True)
        if self._spare is None:
            self._spare = torch.empty(len(found), dtype=torch.int64, pin_memory=on_cuda)
        if found != self._last_found:
            self._gradient_addresses.copy_(torch.tensor(found))
            self._last_found = found
        return self._gradient_addresses

    def reset(self) -> None:
        """Sets all moments and step counts back to zero, in place."""
        self._exp_avg.zero_()
        self._exp_avg_sq.zero_()
        self._beta_powers.fill_(1.0)

    def state(self) -> Any:
        """Masters, moments and the betas' powers, for `restore`."""
        return {
            "masters": self._masters,
            "exp_avg": self._exp_avg,
            "exp_avg_sq": self._exp_avg_sq,
            "beta_powers": self._beta_powers,
        }

    @torch.no_grad()
    def restore(self, state: Any) -> None:
        """Takes over what `state` returned, and with it the weights; in place, so that captured steps see it."""
        for name, value in self.state().items():
            value.copy_(state[name])
        if self._narrow:
            for view, parameter in zip(self._master_views, self._parameters, strict=True):
                parameter.copy_(view)
