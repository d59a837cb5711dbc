"""What tests of kernels have in common: their results and gradients against the same in PyTorch, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from test_attention import relative_error

SEED, SALT = 7, 3
Errors = dict[str, float]
Kernel = Callable[..., torch.Tensor]


def with_small_tiles(check: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a check with tiles so small that little data spans many, and each loop of a kernel goes round."""
    from tuneoff.training.kernels import bias_gelu, column_sums, gated, pre_norm, residual_norm, rotary, scale
    from tuneoff.training.optim import adamw_cuda

    bias_gelu.ROWS = bias_gelu.COLUMNS = scale.ROWS = scale.COLUMNS = 8
    gated.ROWS = gated.COLUMNS = 8
    pre_norm.BACKWARD_PROGRAMS, rotary.BACKWARD_PROGRAMS, rotary.TILE_ELEMENTS = 3, 2, 64
    column_sums.TILE_ROWS = column_sums.TILE_COLUMNS = 8
    column_sums.FOLD_ROWS, column_sums.FOLD_COLUMNS, residual_norm.BACKWARD_PROGRAMS = 2, 16, 3
    adamw_cuda.CHUNK, adamw_cuda.FOLD, adamw_cuda.TABLE = 64, 4, 2
    return check(*arguments)


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape).to(dtype).requires_grad_()


def errors_of(ours: Kernel, plain: Kernel, inputs: dict[str, torch.Tensor], turned: bool = False) -> Errors:
    """Errors of a function's result and of the gradients of all inputs that need one, against float64.

    Args:
        ours: takes the inputs in their order.
        plain: the same function in PyTorch.
        inputs: by the names that their errors get.
        turned: whether the gradient that comes back lies in memory in another order than the result.
    """
    exact = {name: value.detach().double().requires_grad_(value.requires_grad) for name, value in inputs.items()}
    out, expected = ours(*inputs.values()), plain(*exact.values())
    upstream = torch.randn(out.shape).to(out.dtype)
    if turned:
        upstream = upstream.transpose(0, -1).contiguous().transpose(0, -1)
    trained = [name for name, value in inputs.items() if value.requires_grad]
    found = torch.autograd.grad(out, [inputs[name] for name in trained], upstream)
    wanted = torch.autograd.grad(expected, [exact[name] for name in trained], upstream.double())
    assert all(gradient.dtype == inputs[name].dtype for name, gradient in zip(trained, found, strict=True))
    gradients = {name: relative_error(*pair) for name, *pair in zip(trained, found, wanted, strict=True)}
    return {"result": relative_error(out, expected), **gradients}


def with_lora(layer: nn.Linear, rank: int, p: float, salt: int, ones: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """A layer with LoRA of scaling 2 beside it, and what its dropout multiplies each element of the input by."""
    from peft import LoraConfig
    from peft.tuners.lora import Linear

    from tuneoff.training.kernels.dropout import Dropout

    lora = Linear(layer, "a", LoraConfig(r=rank, lora_alpha=2 * rank), r=rank, lora_alpha=2 * rank)
    nn.init.normal_(lora.lora_B["a"].weight)
    dropout = Dropout(p, torch.tensor(SEED), salt).train()
    if p:
        lora.lora_dropout["a"] = dropout
    return lora, dropout(ones)
