"""Gated feed-forward layers: the activation of one product times another, in one pass each way. For CUDA devices.

Of the feed-forward part only the two products are kept. What leads back to the residual stream reads their combination
again to find its weights' gradient: the backward kernel makes it anew beside the gradients, which costs one more store.

Source: Shazeer 2020 (GLU variants improve transformer).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import triton
import triton.language as tl

from tuneoff.training.kernels.gaussian import gaussian_cdf
from tuneoff.training.kernels.launch import launch

Activation = Literal["silu", "gelu", "gelu_tanh"]

ROWS, COLUMNS = 8, 256
"""A program's tile of tokens and features."""


# Triton reads annotations as types of the kernel's own, so these functions have none.
@triton.jit  # type: ignore[untyped-decorator]
def _activated(x, ACTIVATION: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    """The activation of `x` and its derivative, which share their exponential."""
    if ACTIVATION == "silu":
        sigmoid = 1 / (1 + tl.exp(-x))
        value = x * sigmoid
        slope = sigmoid * (1 + x - value)
    elif ACTIVATION == "gelu":
        cdf, bell = gaussian_cdf(x)
        value = x * cdf
        slope = cdf + x * 0.3989422804014327 * bell
    else:  # half of 1 + tanh(y) is the sigmoid of 2 y
        sigmoid = 1 / (1 + tl.exp(-1.5957691216057308 * (x + 0.044715 * x * x * x)))
        value = x * sigmoid
        slope = sigmoid + value * (1 - sigmoid) * 1.5957691216057308 * (1 + 0.134145 * x * x)
    return value, slope


@triton.jit  # type: ignore[untyped-decorator]
def _gated_forward(  # type: ignore[no-untyped-def]
    gate, up, out, rows, width, gate_stride, up_stride,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACTIVATION: tl.constexpr,  # noqa: N803
):  # fmt: skip
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    x = tl.load(gate + row * gate_stride + column, mask=inside, other=0.0).to(tl.float32)
    factor = tl.load(up + row * up_stride + column, mask=inside, other=0.0).to(tl.float32)
    value, _ = _activated(x, ACTIVATION)
    tl.store(out + row * width + column, value * factor, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _gated_backward(  # type: ignore[no-untyped-def]
    gradients, gate, up, d_gate, d_up, out, rows, width, gradient_stride, gate_stride, up_stride, d_stride,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, ACTIVATION: tl.constexpr, AGAIN: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """AGAIN: whether the forward pass's result is written too."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < width)
    x = tl.load(gate + row * gate_stride + column, mask=inside, other=0.0).to(tl.float32)
    factor = tl.load(up + row * up_stride + column, mask=inside, other=0.0).to(tl.float32)
    gradient = tl.load(gradients + row * gradient_stride + column, mask=inside, other=0.0).to(tl.float32)
    value, slope = _activated(x, ACTIVATION)
    tl.store(d_gate + row * d_stride + column, gradient * factor * slope, mask=inside)
    tl.store(d_up + row * d_stride + column, gradient * value, mask=inside)
    if AGAIN:
        tl.store(out + row * width + column, value * factor, mask=inside)


def _combine(gate: torch.Tensor, up: torch.Tensor, activation: Activation) -> torch.Tensor:
    """Shapes (rows, width), strided but for the last axis."""
    rows, width = gate.shape
    out = torch.empty(rows, width, device=gate.device, dtype=gate.dtype)
    grid = (triton.cdiv(rows, ROWS), triton.cdiv(width, COLUMNS))
    launch(
        _gated_forward, grid,
        gate, up, out, rows, width, gate.stride(0), up.stride(0),
        ROWS=ROWS, COLUMNS=COLUMNS, ACTIVATION=activation,
    )  # fmt: skip
    return out


def _go_back(
    gradient: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, activation: Activation, again: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of both, side by side in one array as a joint product wants them; and the result, where asked for."""
    rows, width = gate.shape
    d_gate, d_up = torch.empty(rows, 2 * width, device=gate.device, dtype=gate.dtype).split(width, dim=1)
    out = torch.empty(rows if again else 0, width, device=gate.device, dtype=gate.dtype)
    grid = (triton.cdiv(rows, ROWS), triton.cdiv(width, COLUMNS))
    launch(
        _gated_backward, grid,
        gradient, gate, up, d_gate, d_up, out, rows, width,
        gradient.stride(0), gate.stride(0), up.stride(0), d_gate.stride(0),
        ROWS=ROWS, COLUMNS=COLUMNS, ACTIVATION=activation, AGAIN=again,
    )  # fmt: skip
    return d_gate, d_up, out


def _as_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Shape (rows, width), without a copy where only the last axis adjoins, as of one half of a joint product."""
    rows = tensor.flatten(0, -2)
    return rows if rows.stride(1) == 1 else rows.contiguous()


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor, activation: Activation) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return _combine(_as_rows(gate), _as_rows(up), activation).view(gate.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        d_gate, d_up, _ = _go_back(_as_rows(gradients[0]), _as_rows(gate), _as_rows(up), ctx.activation, again=False)
        return d_gate.view(gate.shape), d_up.view(up.shape), None


class _GatedLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, gate: torch.Tensor, up: torch.Tensor, weight: torch.Tensor, activation: Activation
    ) -> torch.Tensor:
        ctx.save_for_backward(gate, up, weight)
        ctx.activation = activation
        out = _combine(_as_rows(gate), _as_rows(up), activation) @ weight.t()
        return out.view(*gate.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gate, up, weight = ctx.saved_tensors
        d_out = gradients[0].flatten(0, -2)
        d_gate, d_up, product = _go_back(d_out @ weight, _as_rows(gate), _as_rows(up), ctx.activation, again=True)
        return d_gate.view(gate.shape), d_up.view(up.shape), d_out.t() @ product, None


def gated(gate: torch.Tensor, up: torch.Tensor, activation: Activation) -> torch.Tensor:
    """The activation of `gate` times `up`; shapes (..., width), and the same shape back."""
    out: torch.Tensor = _Gated.apply(gate, up, activation)  # type: ignore[no-untyped-call]
    return out


def gated_linear(gate: torch.Tensor, up: torch.Tensor, weight: torch.Tensor, activation: Activation) -> torch.Tensor:
    """`gated`, then a linear layer without bias whose weights, shape (outputs, width), are trained."""
    out: torch.Tensor = _GatedLinear.apply(gate, up, weight, activation)  # type: ignore[no-untyped-call]
    return out
