"""The kernels beside attention against plain PyTorch, run on the CPU by Triton's interpreter where Triton is installed.

A check runs in the process that interprets and returns relative errors, by name. Sizes are odd, so that last tiles
are partly outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from conftest import Interpreted
from kernel_checks import SALT, SEED, Errors, draw, errors_of, with_lora, with_small_tiles
from test_attention import relative_error


def elementwise(kind: str, rows: Sequence[int], width: int, dtype: torch.dtype = torch.float32) -> Errors:
    """Errors of what combines each token with a vector."""
    from tuneoff.training.kernels.bias_gelu import bias_gelu
    from tuneoff.training.kernels.scale import scale

    torch.manual_seed(0)
    ours, plain = {
        "gelu": (bias_gelu, lambda x, vector: nn.functional.gelu(x + vector)),
        "scale": (scale, lambda x, vector: x * vector),
    }[kind]
    return errors_of(ours, plain, {"x": draw(*rows, width, dtype=dtype), "vector": draw(width, dtype=dtype)}, True)


def products(
    rows: Sequence[int],
    width: int,
    outputs: Sequence[int],
    frozen_input: bool = False,
    biased: bool = True,
    ranks: Sequence[int] = (),
    dropout: float = 0.0,
) -> Errors:
    """Errors of linear layers of one input, the results side by side.

    Args:
        rows: of the input.
        width: of the input.
        outputs: widths of the results.
        frozen_input: whether the input needs no gradient.
        biased: whether layers have biases.
        ranks: of the LoRA beside each layer, whose own weights are frozen then; 0 for a layer without.
        dropout: of LoRA's input.
    """
    from tuneoff.training.kernels.shared_linear import can_share, shared_linear

    torch.manual_seed(0)
    layers: list[Any] = [nn.Linear(width, out, bias=biased).requires_grad_(not ranks) for out in outputs]
    factors = [torch.ones(*rows, width)] * len(outputs)
    inputs = {"x": draw(*rows, width).detach().requires_grad_(not frozen_input)}
    for index, rank in enumerate(ranks):
        if rank:
            layers[index], factors[index] = with_lora(layers[index], rank, dropout, SALT + index, factors[index])
            inputs |= {f"A {index}": layers[index].lora_A["a"].weight, f"B {index}": layers[index].lora_B["a"].weight}
    if not ranks:
        for index, layer in enumerate(layers):
            inputs |= {f"weight {index}": layer.weight} | ({f"bias {index}": layer.bias} if biased else {})
    assert can_share(layers)

    def ours(x: torch.Tensor, *_parameters: torch.Tensor) -> torch.Tensor:
        if ranks:
            return shared_linear(x, layers, apart=False)[0]
        # the middle result is not where its gradient will be, so that gradients come back apart
        first, *others = shared_linear(x, layers)
        return torch.cat([first * 1.0, *others], dim=-1)

    def plain(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        if not ranks:
            step = 2 if biased else 1
            bias = torch.cat(parameters[1::2]) if biased else None
            return nn.functional.linear(x, torch.cat(parameters[::step]), bias)
        results, left = [], list(parameters)
        for layer, rank, factor in zip(layers, ranks, factors, strict=True):
            base = layer.base_layer if rank else layer
            bias = None if base.bias is None else base.bias.double()
            results.append(nn.functional.linear(x, base.weight.double(), bias))
            if rank:
                results[-1] = results[-1] + 2 * (x * factor.double()) @ left.pop(0).t() @ left.pop(0).t()
        return torch.cat(results, dim=-1)

    return errors_of(ours, plain, inputs)


def norms(
    rows: Sequence[int], width: int, p: float, biased: bool, trained: bool, dtype: torch.dtype = torch.float32
) -> Errors:
    """Errors of two blocks, the second of which reads the first's result in two ways."""
    from tuneoff.training.kernels.dropout import Dropout
    from tuneoff.training.kernels.residual_norm import residual_norm

    torch.manual_seed(0)
    dropouts = [Dropout(p, torch.tensor(SEED), salt).train() for salt in (SALT, SALT + 1)]
    inputs = {
        "hidden": draw(*rows, width, dtype=dtype),
        "residual": draw(*rows, width, dtype=dtype),
        "bias": draw(width, dtype=dtype),
        "gain": draw(width, dtype=dtype),
        "shift": draw(width, dtype=dtype),
    }
    if not biased:
        inputs["bias"] = torch.zeros(width, dtype=dtype)
    if not trained:
        inputs |= {name: inputs[name].detach() for name in ("gain", "shift")}
    factors = [norm_factors(dropout, inputs["hidden"]) for dropout in dropouts]

    def ours(hidden: Any, residual: Any, bias: Any, gain: Any, shift: Any) -> torch.Tensor:
        added = bias if biased else None
        first = residual_norm(hidden, added, residual, gain, shift, 1e-5, dropouts[0])
        return residual_norm(torch.tanh(first), added, first, gain, shift, 1e-5, dropouts[1])

    def plain(hidden: Any, residual: Any, bias: Any, gain: Any, shift: Any) -> torch.Tensor:
        def block(hidden: torch.Tensor, residual: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
            return nn.functional.layer_norm(residual + (hidden + bias) * kept, (width,), gain, shift, 1e-5)

        first = block(hidden, residual, factors[0])
        return block(torch.tanh(first), first, factors[1])

    return errors_of(ours, plain, inputs, turned=True)


def norm_factors(dropout: Any, like: torch.Tensor) -> torch.Tensor:
    """What the dropout inside a block multiplies each element by.

    Seen in a block of ones: of what is normalised there, dropped elements are the lower ones of their row.
    """
    from tuneoff.training.kernels.residual_norm import residual_norm

    width = like.shape[-1]
    gain, shift, ones = torch.ones(width), torch.zeros(width), torch.ones(like.shape)
    out = residual_norm(ones, None, torch.zeros(like.shape), gain, shift, 1e-5, dropout)
    low, high = out.min(-1, keepdim=True).values, out.max(-1, keepdim=True).values
    assert dropout.p == 0.0 or bool((high - low > 1e-3).all()), "a row was dropped or kept as a whole"
    kept = out > (low + high) / 2 if dropout.p else torch.ones(like.shape)
    return kept.double() / (1 - dropout.p)


def dropout_facts(shape: Sequence[int], p: float, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """What a test asks of dropout."""
    from tuneoff.training.kernels.dropout_triton import dropped

    torch.manual_seed(0)
    ones, values = torch.ones(shape, dtype=dtype), torch.randn(shape).to(dtype)
    kept = [dropped(ones, torch.tensor(seed), salt, p) for seed, salt in ((7, 3), (7, 3), (8, 3), (7, 1_000_003))]
    turned = values.transpose(0, -1).contiguous().transpose(0, -1)
    return {
        "values": sorted({round(value, 3) for value in kept[0].flatten().tolist()}),
        "share": (kept[0] == 0).float().mean().item(),
        "repeated": torch.equal(kept[0], kept[1]),
        "agree": [(kept[0] == other).float().mean().item() for other in kept[2:]],
        "error": relative_error(dropped(turned, torch.tensor(7), 3, p), values.double() * kept[0].double()),
    }


def adamw(
    shapes: Sequence[Sequence[int]],
    dtype: torch.dtype,
    max_grad_norm: float,
    without: Sequence[int] = (),
    late: Sequence[int] = (),
) -> Errors:
    """Errors of what float32 masters have moved by, after steps of the kernels and of PyTorch's AdamW.

    The state of ours is forgotten and put back in between.

    Args:
        shapes: of the weights.
        dtype: of the weights.
        max_grad_norm: gradients are clipped to.
        without: indices of weights that never have a gradient, whose errors are left out.
        late: indices of weights that have none in the first step and in the last but one, and so have taken fewer.
    """
    from tuneoff.training.optim.adamw import MasterAdamW
    from tuneoff.training.optim.adamw_cuda import CudaAdamW

    torch.manual_seed(0)
    first = [torch.randn(*shape).to(dtype) for shape in shapes]
    models = [[nn.Parameter(weight.clone()) for weight in first] for _ in range(2)]
    decays = [0.1 * (len(shape) > 1) for shape in shapes]
    optimisers = CudaAdamW(models[0], decays, max_grad_norm), MasterAdamW(models[1], decays, max_grad_norm)

    def step(number: int, which: Sequence[int] = (0, 1)) -> None:
        torch.manual_seed(number)
        gradients = [torch.randn(*shape).to(dtype) for shape in shapes]
        for model, optimiser in [(models[index], optimisers[index]) for index in which]:
            optimiser.learning_rate.fill_(1e-2 / (1 + number))
            for index, parameter in enumerate(model):
                absent = index in without or (index in late and number in (0, 2))
                parameter.grad = None if absent else gradients[index].clone()
            optimiser.step()
            assert all(parameter.grad is None for parameter in model)

    for number in range(3):
        step(number)
    saved = {name: value.clone() for name, value in optimisers[0].state().items()}
    optimisers[0].reset()
    step(9, which=[0])
    optimisers[0].restore(saved)
    step(3)
    wanted = {
        id(parameter): master
        for _, parameters, masters in optimisers[1]._buckets
        for parameter, master in zip(parameters, masters, strict=True)
    }
    errors = {}
    for index, (parameter, master, start) in enumerate(zip(models[0], optimisers[0]._master_views, first, strict=True)):
        if index in without:
            assert torch.equal(parameter, start)
            continue
        expected = wanted[id(models[1][index])]
        errors[str(index)] = relative_error((master - start) / 1e-2, (expected - start) / 1e-2)
        # the interpreter rounds to bfloat16 up or down, a GPU to the nearest
        assert bool(((parameter.float() - master).abs() <= master.abs() * torch.finfo(dtype).eps).all())
    return errors


@pytest.mark.parametrize("kind", ["gelu", "scale"])
def test_a_vector_for_all_tokens(interpreted: Interpreted, kind: str) -> None:
    assert max(interpreted(elementwise, kind, (1, 67), 131).values()) < 1e-6


@pytest.mark.wide
@pytest.mark.parametrize("kind", ["gelu", "scale"])
@pytest.mark.parametrize(("rows", "width"), [((1,), 1), ((3, 7), 17), ((37,), 8)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-6), (torch.float16, 2e-3), (torch.bfloat16, 1e-2)])
def test_a_vector_for_all_tokens_in_small_tiles(
    interpreted: Interpreted, kind: str, rows: Sequence[int], width: int, dtype: torch.dtype, most: float
) -> None:
    assert max(interpreted(with_small_tiles, elementwise, kind, rows, width, dtype).values()) < most


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("ranks", [(3, 0, 5), (2, 2, 2)])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_linear_layers_with_lora(interpreted: Interpreted, biased: bool, ranks: Sequence[int], dropout: float) -> None:
    assert max(interpreted(products, (2, 35), 21, (5, 48, 16), False, biased, ranks, dropout).values()) < 1e-5


def test_linear_layers_without_bias(interpreted: Interpreted) -> None:
    assert max(interpreted(products, (2, 35), 21, (5, 48, 16), False, False).values()) < 1e-6


@pytest.mark.parametrize("outputs", [(37,), (16, 16, 16), (5, 48, 16)])
def test_linear_layers(interpreted: Interpreted, outputs: Sequence[int]) -> None:
    assert max(interpreted(products, (2, 35), 21, outputs).values()) < 1e-6


@pytest.mark.wide
@pytest.mark.parametrize("outputs", [(37,), (5, 48, 16)])
@pytest.mark.parametrize("frozen_input", [False, True])
def test_linear_layers_in_small_tiles(interpreted: Interpreted, outputs: Sequence[int], frozen_input: bool) -> None:
    assert max(interpreted(with_small_tiles, products, (3, 11), 21, outputs, frozen_input).values()) < 1e-6


def test_norms_of_residuals(interpreted: Interpreted) -> None:
    assert max(interpreted(norms, (1, 5), 52, 0.25, True, True).values()) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize(("rows", "width"), [((2, 6), 44), ((1,), 100)])
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_norms_of_residuals_by_few_programs(
    interpreted: Interpreted, rows: Sequence[int], width: int, p: float, biased: bool, trained: bool
) -> None:
    assert max(interpreted(with_small_tiles, norms, rows, width, p, biased, trained).values()) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_norms_of_residuals_in_half_precision(interpreted: Interpreted, dtype: torch.dtype, most: float) -> None:
    assert max(interpreted(norms, (2, 6), 44, 0.3, True, True, dtype).values()) < most


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_its_share_and_goes_back_through_the_same_mask(interpreted: Interpreted, p: float) -> None:
    found = interpreted(dropout_facts, (93, 3, 101), p)
    assert found["values"] == pytest.approx([0, 1 / (1 - p)], abs=1e-3)
    assert found["share"] == pytest.approx(p, abs=0.01)
    assert found["repeated"]
    assert found["agree"] == pytest.approx([p * p + (1 - p) * (1 - p)] * 2, abs=0.015)
    assert found["error"] < 1e-6


@pytest.mark.wide
@pytest.mark.parametrize("shape", [(1,), (2048,), (2049,), (3, 1)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
def test_dropout_of_odd_sizes_in_half_precision(
    interpreted: Interpreted, shape: Sequence[int], dtype: torch.dtype, most: float
) -> None:
    found = interpreted(dropout_facts, shape, 0.25, dtype)
    assert found["repeated"]
    assert found["error"] < most


@pytest.mark.parametrize("seed", [0, 41, (1 << 40) - 3])
def test_words_by_pytorch_are_random(seed: int) -> None:
    """As bits, beside those of the next seed and of their neighbours."""
    from tuneoff.training.kernels.dropout_torch import random_words

    def bits(words: torch.Tensor) -> torch.Tensor:
        return (words[:, None] >> torch.arange(64)) & 1

    words = random_words(20_011, torch.tensor(seed))
    assert torch.equal(words, random_words(20_011, torch.tensor(seed)))
    assert torch.equal(words[:7], random_words(7, torch.tensor(seed)))
    assert len(words.unique()) == len(words)
    found = bits(words)
    assert found.float().mean(0).sub(0.5).abs().max() < 0.02  # six standard deviations
    for other in (bits(random_words(20_011, torch.tensor(seed + 1))), found.roll(1, 0), found.roll(1, 1)):
        assert (found == other).float().mean(0).sub(0.5).abs().max() < 0.02


SHAPES = [(9, 7), (1,), (63,), (25, 1), (41, 27)]


def test_adamw(interpreted: Interpreted) -> None:
    assert max(interpreted(adamw, SHAPES, torch.float32, 0.5).values()) < 1e-4


def test_adamw_counts_the_steps_of_each_weight(interpreted: Interpreted) -> None:
    assert max(interpreted(adamw, SHAPES, torch.float32, 0.5, (1,), (0, 3)).values()) < 1e-4


@pytest.mark.wide
@pytest.mark.parametrize("max_grad_norm", [0.5, 1e6])
@pytest.mark.parametrize("without", [(), (0, 4)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-3)])
def test_adamw_in_small_chunks(
    interpreted: Interpreted, max_grad_norm: float, without: Sequence[int], dtype: torch.dtype, most: float
) -> None:
    assert max(interpreted(with_small_tiles, adamw, SHAPES, dtype, max_grad_norm, without, (2, 3)).values()) < most
