"""AdamW on float32 master weights, gradient clipping, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from tuneoff.training.kernels.choice import chosen_kernels
from tuneoff.training.optim.hyperparameters import BETAS, EPSILON, decayed_parameters, rate_factor

if TYPE_CHECKING:
    from tuneoff.spec import TrainingSpec

BUCKET_ELEMENTS = 1 << 24
"""Gradients are widened to float32 in buckets of about this size, so that they never all exist twice."""


class Optimiser(Protocol):
    """What an engine needs; `learning_rate` is a scalar on the device that it sets before each step."""

    learning_rate: torch.Tensor

    def step(self) -> None:
        """Clips the gradients, updates the weights and drops the gradients."""

    def reset(self) -> None:
        """Sets moments and step counts back to zero, in place."""

    def state(self) -> Any:
        """All that further steps depend on, the weights included."""

    def restore(self, state: Any) -> None:
        """Takes over what `state` returned, in place."""


def make_optimiser(model: nn.Module, training: TrainingSpec) -> Optimiser:
    """AdamW over the trained parameters of a model, in the form that is fastest on its device."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    parameters = [parameter for _, parameter in named]
    if not parameters:
        return NothingTrained()
    decayed = decayed_parameters(model)
    decays = [training.weight_decay if name in decayed else 0.0 for name, _ in named]
    alike = len({parameter.dtype for parameter in parameters}) == 1
    if not parameters[0].is_cpu and alike and "adamw" in chosen_kernels(training):
        from tuneoff.training.optim.adamw_cuda import CudaAdamW

        return CudaAdamW(parameters, decays, training.max_grad_norm)
    return MasterAdamW(parameters, decays, training.max_grad_norm)


class NothingTrained:
    """Stands for the optimiser of a model that is used and not trained."""

    def __init__(self) -> None:
        self.learning_rate = torch.zeros(())

    def step(self) -> None: ...

    def reset(self) -> None: ...

    def state(self) -> Any: ...

    def restore(self, state: Any) -> None: ...


class MasterAdamW:
    """PyTorch's fused AdamW (betas 0.9 and 0.999, epsilon 1e-8).

    A parameter in bfloat16 has a float32 master that takes the updates and is rounded back after each step; a
    float32 parameter is its own master. Each parameter counts its own steps: those in which it had a gradient. One
    with an attribute `rate_factor` moves at so many times the learning rate.

    The learning rate is a tensor on the device, so that a CUDA graph can replay a step with another one.

    Args:
        parameters: all that are trained.
        decays: the weight decay of each.
        max_grad_norm: gradients are clipped to this norm, over all of them together.

    Source: Micikevicius et al. 2018 (Mixed Precision Training), section 3.1; Loshchilov and Hutter 2019 (AdamW).
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decays: Sequence[float], max_grad_norm: float) -> None:
        self.learning_rate = torch.zeros((), device=parameters[0].device)
        self._max_grad_norm = max_grad_norm
        self._parameters = parameters
        self._buckets: list[tuple[torch.optim.AdamW | _OutlinedAdamW, list[nn.Parameter], list[nn.Parameter]]] = []
        self._rates = {1.0: self.learning_rate}
        for decay in sorted(set(decays), reverse=True):
            alike: dict[tuple[float, torch.dtype], list[nn.Parameter]] = {}
            for parameter, own in zip(parameters, decays, strict=True):
                if own == decay:
                    alike.setdefault((rate_factor(parameter), parameter.dtype), []).append(parameter)
            for (factor, _), members in alike.items():
                for bucket in _in_buckets(members):
                    self._add_bucket(bucket, decay, factor)

    def _add_bucket(self, parameters: list[nn.Parameter], weight_decay: float, factor: float) -> None:
        on_cuda = self.learning_rate.is_cuda
        rate = self._rates.setdefault(factor, torch.zeros_like(self.learning_rate))
        masters = [
            parameter if parameter.dtype == torch.float32 else nn.Parameter(parameter.detach().float())
            for parameter in parameters
        ]
        optimiser: torch.optim.AdamW | _OutlinedAdamW
        if rate.is_meta:
            optimiser = _OutlinedAdamW(masters)
        else:
            optimiser = torch.optim.AdamW(
                masters,
                lr=rate,
                betas=BETAS,
                eps=EPSILON,
                weight_decay=weight_decay,
                fused=True,
                capturable=on_cuda,
            )
        self._buckets.append((optimiser, parameters, masters))

    @torch.no_grad()
    def step(self) -> None:
        """Clips the gradients to the maximal norm, updates the weights and drops the gradients.

        A parameter without a gradient is left as it is.
        """
        scale = clip_factor(
            gradient_norm([p.grad for p in self._parameters if p.grad is not None]), self._max_grad_norm
        )
        for factor, rate in self._rates.items():
            if rate is not self.learning_rate:
                rate.copy_(self.learning_rate).mul_(factor)
        for optimiser, parameters, masters in self._buckets:
            live = [(p, master) for p, master in zip(parameters, masters, strict=True) if p.grad is not None]
            if not live:
                continue
            gradients = [p.grad for p, _ in live if p.grad is not None]
            if live[0][0] is not live[0][1]:
                gradients = [torch.empty_like(master) for _, master in live]
                torch._foreach_copy_(gradients, [p.grad for p, _ in live if p.grad is not None])
            torch._foreach_mul_(gradients, scale)
            for gradient, (_, master) in zip(gradients, live, strict=True):
                master.grad = gradient
            del gradients
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            narrow = [(p, master) for p, master in live if p is not master]
            if narrow:
                torch._foreach_copy_([p for p, _ in narrow], [master for _, master in narrow])
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def reset(self) -> None:
        """Sets all moments and step counts back to zero, in place."""
        for optimiser, _, _ in self._buckets:
            for state in optimiser.state.values():
                for value in state.values():
                    value.zero_()

    def state(self) -> list[list[dict[str, torch.Tensor]]]:
        """Masters, moments and step counts, bucket by bucket, for `restore`."""
        return [
            [{"master": master.detach(), **optimiser.state[master]} for master in masters]
            for optimiser, _, masters in self._buckets
        ]

    @torch.no_grad()
    def restore(self, state: list[list[dict[str, torch.Tensor]]]) -> None:
        """Takes over what `state` returned, and with it the weights; in place, so that captured steps see it."""
        for (optimiser, parameters, masters), saved in zip(self._buckets, state, strict=True):
            for parameter, master, values in zip(parameters, masters, saved, strict=True):
                master.copy_(values.pop("master"))
                if parameter is not master:
                    parameter.copy_(master)
                held = optimiser.state[master]
                for name, value in values.items():
                    if name in held:
                        held[name].copy_(value)
                    else:
                        held[name] = value.to(master.device, copy=True)


class _OutlinedAdamW:
    """Stands for PyTorch's fused AdamW on the meta device, which that does not know: its state, and no update."""

    def __init__(self, masters: list[nn.Parameter]) -> None:
        self._masters = masters
        self.state: dict[nn.Parameter, dict[str, torch.Tensor]] = defaultdict(dict)

    def step(self) -> None:
        for master in self._masters:
            if master.grad is not None and not self.state[master]:
                moments = {name: torch.zeros_like(master) for name in ("exp_avg", "exp_avg_sq")}
                self.state[master] = {"step": torch.zeros((), device=master.device), **moments}

    def zero_grad(self, set_to_none: bool) -> None:
        assert set_to_none
        for master in self._masters:
            master.grad = None


def gradient_norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    """The norm of all gradients together, summed in float32 whatever they are in; shape (), zero where there is none.

    Squares of bfloat16 gradients that are summed in bfloat16 have 8 bits, and the norm an error of up to 0.4% for
    each tensor and once more for all.
    """
    if not gradients:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0, torch.float32)))


def clip_factor(norm: torch.Tensor, max_norm: float) -> torch.Tensor:
    """What gradients of this norm are multiplied by."""
    return (max_norm / (norm + 1e-6)).clamp(max=1.0)


def _in_buckets(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    buckets: list[list[nn.Parameter]] = []
    filled = BUCKET_ELEMENTS
    for parameter in parameters:
        if filled >= BUCKET_ELEMENTS:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += parameter.numel()
    return buckets


def learning_rates(peak: float, steps: int, warmup_ratio: float) -> list[float]:
    """The learning rate of each step: up linearly over the first share of steps, then down to zero after the last."""
    warmup = math.ceil(steps * warmup_ratio)
    return [
        peak * ((step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup))
        for step in range(steps)
    ]
