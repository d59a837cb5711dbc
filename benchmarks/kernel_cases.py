"""What `own_kernels.py` compares: each kernel of Tuneoff's beside the libraries that compute the same, at one shape.

A case holds ways to compute one thing, forward and backward, by their names; the first is ours. Ways of libraries that
are not installed are named in `ABSENT`.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from tuneoff.training.kernels.dropout import Dropout

TOKENS, HIDDEN, INNER, HEADS = 16_384, 768, 3072, 12
ABSENT: dict[str, str] = {}
"""Libraries that could not be imported, and why."""

Tensors = Sequence[torch.Tensor]
Way = Callable[[], Tensors]


@dataclass
class Case:
    """One thing that a step computes, in several ways.

    Attributes:
        name: what it is.
        times_a_step: how often a step of full fine-tuning of RoBERTa-base computes it.
        ways: by name; each computes the result and the gradients, and returns them.
        exact: whether all ways return the same, up to rounding (without dropout).
        calls: in one CUDA graph.
    """

    name: str
    times_a_step: int
    ways: dict[str, Way] = field(default_factory=dict)
    exact: bool = True
    calls: int = 10


def library(module: str, name: str) -> Any:
    """Something from a library, or None where that is absent."""
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a library of another PyTorch or CUDA fails in ways of its own
        ABSENT.setdefault(module, f"{type(error).__name__}: {error}".splitlines()[0])
        return None


def tensor(*shape: int) -> torch.Tensor:
    """A bfloat16 input of a step, with random content."""
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16).requires_grad_()


def both_ways(function: Callable[..., Any], *inputs: torch.Tensor) -> Way:
    """Forward and backward of a function with one result."""
    upstream = None

    def way() -> Tensors:
        nonlocal upstream
        out = function(*inputs)
        if upstream is None:
            torch.manual_seed(1)
            upstream = torch.randn(out.shape, device=out.device, dtype=out.dtype)
        return [out, *torch.autograd.grad(out, inputs, upstream)]

    return way


def lengths_of_reviews() -> list[int]:
    """Lengths of reviews cut at 512 tokens, `TOKENS` in all."""
    torch.manual_seed(0)
    drawn = torch.empty(200).log_normal_(5.45, 0.6).clamp(20, 512).int().tolist()
    ends = itertools.accumulate(drawn)
    lengths = [length for length, end in zip(drawn, ends, strict=True) if end <= TOKENS - 20]
    return [*lengths[:-1], *split(TOKENS - sum(lengths[:-1]))]


def split(tokens: int) -> list[int]:
    """In as few sequences as hold it."""
    count = -(-tokens // 512)
    return [tokens // count + (index < tokens % count) for index in range(count)]


def cases() -> Iterator[Case]:
    """One at a time, since each holds arrays of its own."""
    yield attention_case(0.0)
    yield attention_case(0.1)
    yield norm_case()
    yield gelu_case()
    yield shared_linear_case()
    yield dropout_case()
    yield lora_case()
    yield ia3_case()
    yield adamw_case()


def attention_case(dropout_p: float) -> Case:
    """Attention among packed reviews."""
    from tuneoff.training.kernels.attention import attention

    lengths = lengths_of_reviews()
    cu_seqlens = torch.tensor([0, *itertools.accumulate(lengths)], device="cuda", dtype=torch.int32)
    longest, size = max(lengths), HIDDEN // HEADS
    inputs = [tensor(TOKENS, HEADS, size) for _ in range(3)]
    seed = torch.tensor(5, device="cuda")

    def ours(q: Any, k: Any, v: Any) -> torch.Tensor:
        return attention(q, k, v, cu_seqlens, longest, None, False, None, dropout_p, seed, 3)

    def varlen(q: Any, k: Any, v: Any) -> Any:
        return varlen_attn(q, k, v, cu_seqlens, cu_seqlens, longest, longest)

    def one_by_one(q: Any, k: Any, v: Any) -> torch.Tensor:
        sequences = zip(*(x.transpose(0, 1).split(lengths, dim=1) for x in (q, k, v)), strict=True)
        pieces = [
            functional.scaled_dot_product_attention(q[None], k[None], v[None], dropout_p=dropout_p)
            for q, k, v in sequences
        ]
        return torch.cat(pieces, dim=2)[0].transpose(0, 1)

    functions: dict[str, Callable[..., Any]] = {"ours": ours}
    if dropout_p == 0:
        functions["torch varlen_attn"] = varlen
    functions["torch sdpa, one by one"] = one_by_one
    flash = library("flash_attn", "flash_attn_varlen_func")
    if flash:
        functions["flash-attn"] = lambda q, k, v: flash(
            q, k, v, cu_seqlens, cu_seqlens, longest, longest, dropout_p=dropout_p
        )
    name = "attention" + f", dropout {dropout_p}" * (dropout_p > 0)
    ways = {label: both_ways(function, *inputs) for label, function in functions.items()}
    return Case(name, 12, ways, exact=dropout_p == 0)


def norm_case() -> Case:
    """The end of a residual block: bias, dropout, residual, layer normalisation."""
    from tuneoff.training.kernels.residual_norm import residual_norm

    p = 0.1
    inputs = [tensor(TOKENS, HIDDEN), tensor(HIDDEN), tensor(TOKENS, HIDDEN), tensor(HIDDEN), tensor(HIDDEN)]
    dropout = Dropout(p, torch.tensor(5, device="cuda"), 1).train()

    def ours(x: Any, bias: Any, residual: Any, gain: Any, shift: Any) -> torch.Tensor:
        return residual_norm(x, bias, residual, gain, shift, 1e-5, dropout)

    def plain(x: Any, bias: Any, residual: Any, gain: Any, shift: Any) -> torch.Tensor:
        mixed = functional.dropout(x + bias, p) + residual
        return functional.layer_norm(mixed, (HIDDEN,), gain, shift, 1e-5)

    functions: dict[str, Callable[..., Any]] = {"ours": ours, "torch": plain, "torch.compile": compiled(plain)}
    flash = library("flash_attn.ops.triton.layer_norm", "layer_norm_fn")
    if flash:
        functions["flash-attn layer_norm_fn"] = lambda x, bias, residual, gain, shift: flash(
            x + bias, gain, shift, residual=residual, eps=1e-5, dropout_p=p
        )
    liger = library("liger_kernel.ops.layer_norm", "LigerLayerNormFunction")
    if liger:
        functions["liger LayerNorm"] = lambda x, bias, residual, gain, shift: liger.apply(
            functional.dropout(x + bias, p) + residual, gain, shift, 1e-5
        )
    apex = library("apex.normalization.fused_layer_norm", "fused_layer_norm_affine")
    if apex:
        functions["apex FusedLayerNorm"] = lambda x, bias, residual, gain, shift: apex(
            functional.dropout(x + bias, p) + residual, gain, shift, (HIDDEN,), 1e-5
        )
    ways = {label: both_ways(function, *inputs) for label, function in functions.items()}
    return Case("residual + dropout + norm", 24, ways, exact=False)


def gelu_case() -> Case:
    """A bias and the exact GELU. Liger's and apex's are the approximate one."""
    from tuneoff.training.kernels.bias_gelu import bias_gelu

    inputs = [tensor(TOKENS, INNER), tensor(INNER)]

    def plain(x: Any, bias: Any) -> torch.Tensor:
        return functional.gelu(x + bias)

    functions = {"ours": bias_gelu, "torch": plain, "torch.compile": compiled(plain)}
    return Case("GELU with bias gradient", 12, {n: both_ways(f, *inputs) for n, f in functions.items()})


def shared_linear_case() -> Case:
    """Query, key and value, of one input."""
    from tuneoff.training.kernels.shared_linear import shared_linear

    layers = [nn.Linear(HIDDEN, HIDDEN, device="cuda", dtype=torch.bfloat16) for _ in range(3)]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    x = tensor(TOKENS, HIDDEN)

    def ours(x: Any, *_: Any) -> torch.Tensor:
        return torch.cat(shared_linear(x, layers), dim=1)

    def plain(x: Any, *_: Any) -> torch.Tensor:
        return torch.cat([layer(x) for layer in layers], dim=1)

    functions = {"ours": ours, "torch, apart": plain}
    ways = {label: both_ways(function, x, *parameters) for label, function in functions.items()}
    return Case("query, key, value (and a cat)", 12, ways)


def dropout_case() -> Case:
    """Dropout where nothing is beside it to be fused with."""
    x, seed = tensor(TOKENS, HIDDEN), torch.tensor(5, device="cuda")
    functions: dict[str, Callable[..., Any]] = {
        "ours": Dropout(0.1, seed, 1).train(),
        "torch": lambda x: functional.dropout(x, 0.1),
        "seeded, by torch": Dropout(0.1, seed, 1, fused=False).train(),
    }
    return Case("dropout alone", 3, {n: both_ways(f, x) for n, f in functions.items()}, exact=False)


def lora_case() -> Case:
    """A linear layer with LoRA of rank 8."""
    from peft import LoraConfig, get_peft_model

    from tuneoff.training.kernels.fuse import fuse

    x = tensor(TOKENS, HIDDEN)
    models = []
    for _ in range(2):
        torch.manual_seed(2)
        base = nn.Sequential(nn.Linear(HIDDEN, HIDDEN))
        model = get_peft_model(base, LoraConfig(target_modules=["0"], r=8, lora_dropout=0.0))
        models.append(model.to("cuda", torch.bfloat16))
    assert fuse(models[0], {"lora"}) == 1
    ways = {}
    for label, model in zip(("ours", "peft"), models, strict=True):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        ways[label] = both_ways(lambda x, *_, model=model: model.base_model.model(x), x, *trained)
    return Case("LoRA layer", 36, ways)


def ia3_case() -> Case:
    """Activations times a vector."""
    from tuneoff.training.kernels.scale import scale

    inputs = [tensor(TOKENS, INNER), tensor(INNER)]

    def plain(x: Any, factors: Any) -> torch.Tensor:
        return x * factors

    functions: dict[str, Callable[..., Any]] = {"ours": scale, "torch": plain, "torch.compile": compiled(plain)}
    return Case("IA3 scale", 12, {n: both_ways(f, *inputs) for n, f in functions.items()})


def adamw_case() -> Case:
    """A whole step of the optimiser, over RoBERTa-base's weights."""
    from tuneoff.training.optim.adamw import MasterAdamW
    from tuneoff.training.optim.adamw_cuda import CudaAdamW

    layer = [(HIDDEN, HIDDEN)] * 4 + [(INNER, HIDDEN), (HIDDEN, INNER)] + [(HIDDEN,)] * 9 + [(INNER,)]
    shapes = [(50_265, HIDDEN), (514, HIDDEN), *layer * 12, (HIDDEN, HIDDEN), (2, HIDDEN)]
    gradients = [torch.randn(*shape, device="cuda", dtype=torch.bfloat16) for shape in shapes]
    decays = [0.01 * (len(shape) > 1) for shape in shapes]

    def stepping(make: Callable[[list[nn.Parameter]], Any]) -> Way:
        torch.manual_seed(3)
        weights = [nn.Parameter(torch.randn(*shape, device="cuda", dtype=torch.bfloat16)) for shape in shapes]
        step = make(weights)

        def way() -> Tensors:
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            step()
            return [weights[2].detach()]

        return way

    def owned(kind: Any) -> Callable[[list[nn.Parameter]], Any]:
        def make(weights: list[nn.Parameter]) -> Any:
            optimiser = kind(weights, decays, 1.0)
            optimiser.learning_rate.fill_(1e-5)
            return optimiser.step

        return make

    ways = {"ours": stepping(owned(CudaAdamW)), "torch fused, float32 masters": stepping(owned(MasterAdamW))}
    apex = library("apex.optimizers", "FusedAdam")
    if apex:

        def make_apex(weights: list[nn.Parameter]) -> Any:
            optimiser = apex(weights, lr=1e-5, weight_decay=0.01, master_weights=True, capturable=True)

            def step() -> None:
                nn.utils.clip_grad_norm_(weights, 1.0)
                optimiser.step()

            return step

        ways["apex FusedAdam"] = stepping(make_apex)
    return Case("AdamW with clipping", 1, ways, exact=False, calls=1)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """By `torch.compile`, with nothing dynamic."""
    made: Callable[..., Any] = torch.compile(function, dynamic=False)
    return made
