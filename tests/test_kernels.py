"""The kernels beside attention against plain PyTorch, run on the CPU by Triton's interpreter where Triton is installed.

A check runs in the process that interprets and returns relative errors, by name. Sizes are odd, so that last tiles
are partly outside.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from conftest import Interpreted
from test_attention import relative_error
from test_engines import PACKED, classifier

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


def pre_norms(
    rows: Sequence[int], width: int, kind: str, trained: bool = True, dtype: torch.dtype = torch.float32
) -> Errors:
    """Errors of two residual additions and normalisations, and of the sum that goes past them."""
    from tuneoff.training.kernels.pre_norm import Normalisation, pre_norm, residual_pre_norm

    torch.manual_seed(0)
    inputs = {name: draw(*rows, width, dtype=dtype) for name in ("hidden", "residual")}
    inputs["gain"] = draw(width, dtype=dtype).detach().requires_grad_(trained)
    if kind == "layer with bias":
        inputs["shift"] = draw(width, dtype=dtype).detach().requires_grad_(trained)
    offset = 1.0 if kind == "gemma" else 0.0

    def ours(hidden: Any, residual: Any, gain: Any, shift: Any = None) -> torch.Tensor:
        by = Normalisation(gain, shift, 1e-5, kind.startswith("layer"), offset)
        first, total = residual_pre_norm(pre_norm(hidden, by), residual, by)
        second, total = residual_pre_norm(torch.tanh(first), total, by)
        _, unread = residual_pre_norm(second, total, by)
        return second + total + unread

    def plain(hidden: Any, residual: Any, gain: Any, shift: Any = None) -> torch.Tensor:
        def normalise(x: torch.Tensor) -> torch.Tensor:
            if kind.startswith("layer"):
                return nn.functional.layer_norm(x, (width,), gain, shift, 1e-5)
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * (gain + offset)

        total = normalise(hidden) + residual
        total = torch.tanh(normalise(total)) + total
        return 2 * (normalise(total) + total)

    return errors_of(ours, plain, inputs, turned=True)


def gates(
    rows: Sequence[int], width: int, activation: Any, out: int, dtype: torch.dtype = torch.float32, joint: bool = True
) -> Errors:
    """Errors of a gated feed-forward layer, of halves of one array or of two, followed by a layer of `out` if any."""
    from tuneoff.training.kernels.gated import gated, gated_linear

    torch.manual_seed(0)
    inputs = {"gate": draw(*rows, width, dtype=dtype), "up": draw(*rows, width, dtype=dtype)}
    if out:
        inputs["weight"] = draw(out, width, dtype=dtype)
    functions: dict[str, Kernel] = {
        "silu": nn.functional.silu,
        "gelu": nn.functional.gelu,
        "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
    }

    def ours(gate: Any, up: Any, *weight: Any) -> torch.Tensor:
        if joint:
            gate, up = torch.cat([gate, up], dim=-1).chunk(2, dim=-1)
        return gated_linear(gate, up, weight[0], activation) if out else gated(gate, up, activation)

    def plain(gate: Any, up: Any, *weight: Any) -> torch.Tensor:
        product = functions[activation](gate) * up
        return nn.functional.linear(product, weight[0]) if out else product

    return errors_of(ours, plain, inputs, turned=True)


def rotations(
    tokens: int,
    heads: tuple[int, int, int],
    size: int,
    normed: bool,
    trained: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Errors:
    """Errors of queries and keys turned by angles, normed before or not, and of values, side by side."""
    from tuneoff.training.kernels.rotary import Heads, rotary

    torch.manual_seed(0)
    angles = torch.rand(tokens, size) * 6
    tables = angles.cos().to(dtype), angles.sin().to(dtype)
    inputs = {"rows": draw(tokens, sum(heads) * size, dtype=dtype)}
    if normed:
        inputs |= {name: draw(size, dtype=dtype).detach().requires_grad_(trained) for name in ("queries", "keys")}

    def ours(rows: Any, *gains: Any) -> torch.Tensor:
        found = rotary(rows * 1.0, *tables, Heads(*heads, size), gains or None, 1e-5)
        return torch.cat([part.flatten(1) for part in found], dim=1) * 1.0

    def plain(rows: Any, *gains: Any) -> torch.Tensor:
        query, key, value = rows.unflatten(1, (-1, size)).split(heads, dim=1)
        cosines, sines = (table.double()[:, None] for table in tables)

        def turned(x: torch.Tensor, gain: torch.Tensor | None) -> torch.Tensor:
            if gain is not None:
                x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * gain
            a, b = x.chunk(2, dim=-1)
            return x * cosines + torch.cat([-b, a], dim=-1) * sines

        query_gain, key_gain = gains or (None, None)
        return torch.cat([turned(query, query_gain), turned(key, key_gain), value], dim=1).flatten(1)

    return errors_of(ours, plain, inputs)


def rotations_far_apart() -> list[float]:
    """By how much the results differ where tokens lie so far apart that places in their array pass 2^31."""
    from tuneoff.training.kernels.rotary import Heads, rotary

    torch.manual_seed(0)
    heads, far = Heads(1, 1, 1, 16), 1 << 30
    near, cosines, sines = torch.randn(3, 48).bfloat16(), torch.randn(3, 16), torch.randn(3, 16)
    rows = torch.empty(2 * far + 48, dtype=torch.bfloat16).as_strided((3, 48), (far, 1))  # few of its pages are touched
    rows.copy_(near)
    pairs = zip(rotary(rows, cosines, sines, heads), rotary(near, cosines, sines, heads), strict=True)
    return [float((found - wanted).abs().max()) for found, wanted in pairs]


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


def fused_model(kind: str, method: str) -> Errors:
    """Errors of the logits and of the gradients of a model with fused layers; dropout is off."""
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec.arms import METHODS
    from tuneoff.training.kernels.choice import KERNELS
    from tuneoff.training.kernels.dropout import Dropout, own_dropout
    from tuneoff.training.kernels.fuse import fuse

    models = []
    for _ in range(2):
        model = classifier(kind, PACKED[kind]).model
        loaded = LoadedModel.of(model, ("score" if hasattr(model, "score") else "classifier",))
        torch.manual_seed(0)
        models.append(METHODS.classes()[method].model_validate({"method": method}).adapt(loaded).train())
        own_dropout(models[-1], torch.device("cpu"))
        for module in models[-1].modules():
            if isinstance(module, Dropout):
                module.p = 0.0
    assert fuse(models[0], set()) == 0
    assert fuse(models[0], KERNELS) > 0
    models[1].double()
    ids = torch.randint(5, 100, (2, 7))
    results = [model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits for model in models]
    upstream = torch.randn(results[0].shape)
    for result in results:
        result.backward(upstream.to(result.dtype))
    found, wanted = ({name: p.grad for name, p in model.named_parameters() if p.grad is not None} for model in models)
    assert found.keys() == {name for name, p in models[0].named_parameters() if p.requires_grad} == wanted.keys()
    return {"logits": relative_error(*results), **{name: relative_error(found[name], wanted[name]) for name in found}}


def forwards_given(kind: str, options: dict[str, Any], hooked: str = "") -> set[str]:
    """The classes of the modules of a model whose forward another one takes the place of.

    Args:
        kind: of the model.
        options: of its configuration.
        hooked: end of the names of modules that somebody looks at.
    """
    from tuneoff.training.kernels.choice import KERNELS
    from tuneoff.training.kernels.fuse import fuse

    model = classifier(kind, options).model
    for name, module in model.named_modules():
        if hooked and name.endswith(hooked):
            module.register_forward_hook(lambda *_: None)
    fuse(model, KERNELS)
    return {type(module).__name__ for module in model.modules() if "forward" in vars(module)}


def calls_of_norms(kind: str) -> dict[str, int]:
    """How often each normalisation of a fused model that is called at all is called in a pass."""
    from tuneoff.training.kernels.choice import KERNELS
    from tuneoff.training.kernels.fuse import fuse

    model = classifier(kind, DECODER).model
    fuse(model, KERNELS)
    found: Counter[str] = Counter()
    for path, module in model.named_modules():
        if path.endswith("norm"):
            module.register_forward_pre_hook(lambda *_, path=path: found.update([path]))
    model(input_ids=torch.randint(5, 100, (1, 5)))
    return dict(found)


def behind_a_prefix() -> float:
    """The error of a fused attention whose tokens follow others, whose keys and values it is given."""
    from transformers.cache_utils import DynamicCache

    from tuneoff.training.kernels.choice import KERNELS
    from tuneoff.training.kernels.fuse import fuse
    from tuneoff.training.kernels.fuse_blocks import CACHES

    results = []
    for kernels in (KERNELS, frozenset[str]()):
        model = classifier("llama", DECODER).model
        attention: Any = model.base_model.layers[0].self_attn
        (name,) = CACHES & inspect.signature(attention.forward).parameters.keys()
        fuse(model, kernels)
        torch.manual_seed(0)
        cache = DynamicCache(config=model.config)
        cache.update(torch.randn(1, 2, 3, 16), torch.randn(1, 2, 3, 16), 0)
        hidden, angles = torch.randn(1, 5, 64), torch.zeros(1, 5, 16)
        options = {"position_embeddings": (angles.cos(), angles.sin()), "attention_mask": None, name: cache}
        results.append(attention(hidden, **options)[0])
    return relative_error(results[0], results[1].double())


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


@pytest.mark.long
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


NORMS = ["rms", "gemma", "layer", "layer with bias"]


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("trained", [False, True])
def test_norms_before_layers(interpreted: Interpreted, kind: str, trained: bool) -> None:
    assert max(interpreted(pre_norms, (2, 7), 53, kind, trained).values()) < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize(("rows", "width"), [((11,), 300), ((1,), 8)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 6e-2)])
def test_norms_before_layers_by_few_programs(
    interpreted: Interpreted, kind: str, rows: Sequence[int], width: int, dtype: torch.dtype, most: float
) -> None:
    assert max(interpreted(with_small_tiles, pre_norms, rows, width, kind, True, dtype).values()) < most


ACTIVATIONS = ["silu", "gelu", "gelu_tanh"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("out", [0, 11])
def test_gated_layers(interpreted: Interpreted, activation: str, out: int) -> None:
    assert max(interpreted(gates, (2, 19), 37, activation, out).values()) < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_gated_layers_in_small_tiles(
    interpreted: Interpreted, activation: str, joint: bool, dtype: torch.dtype, most: float
) -> None:
    assert max(interpreted(with_small_tiles, gates, (3, 7), 20, activation, 9, dtype, joint).values()) < most


@pytest.mark.parametrize("heads", [(4, 2, 2), (3, 3, 3)])
@pytest.mark.parametrize("normed", [False, True])
def test_rotary_positions(interpreted: Interpreted, heads: tuple[int, int, int], normed: bool) -> None:
    assert max(interpreted(rotations, 13, heads, 16, normed).values()) < 1e-5


def test_rotary_positions_of_many_tokens(interpreted: Interpreted) -> None:
    assert interpreted(rotations_far_apart) == [0.0, 0.0, 0.0]


@pytest.mark.long
@pytest.mark.parametrize("heads", [(6, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize(("normed", "trained"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_rotary_positions_in_small_tiles(
    interpreted: Interpreted, heads: tuple[int, int, int], normed: bool, trained: bool, dtype: torch.dtype, most: float
) -> None:
    assert max(interpreted(with_small_tiles, rotations, 7, heads, 32, normed, trained, dtype).values()) < most


@pytest.mark.parametrize("outputs", [(37,), (16, 16, 16), (5, 48, 16)])
def test_linear_layers(interpreted: Interpreted, outputs: Sequence[int]) -> None:
    assert max(interpreted(products, (2, 35), 21, outputs).values()) < 1e-6


@pytest.mark.long
@pytest.mark.parametrize("outputs", [(37,), (5, 48, 16)])
@pytest.mark.parametrize("frozen_input", [False, True])
def test_linear_layers_in_small_tiles(interpreted: Interpreted, outputs: Sequence[int], frozen_input: bool) -> None:
    assert max(interpreted(with_small_tiles, products, (3, 11), 21, outputs, frozen_input).values()) < 1e-6


def test_norms_of_residuals(interpreted: Interpreted) -> None:
    assert max(interpreted(norms, (1, 5), 52, 0.25, True, True).values()) < 1e-5


@pytest.mark.long
@pytest.mark.parametrize(("rows", "width"), [((2, 6), 44), ((1,), 100)])
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_norms_of_residuals_by_few_programs(
    interpreted: Interpreted, rows: Sequence[int], width: int, p: float, biased: bool, trained: bool
) -> None:
    assert max(interpreted(with_small_tiles, norms, rows, width, p, biased, trained).values()) < 1e-5


@pytest.mark.long
@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_norms_of_residuals_in_half_precision(interpreted: Interpreted, dtype: torch.dtype, most: float) -> None:
    assert max(interpreted(norms, (2, 6), 44, 0.3, True, True, dtype).values()) < most


@pytest.mark.long
@pytest.mark.parametrize(
    "kind",
    ["bert", "electra", "roberta", "llama", "mistral", "qwen2", "qwen3", "gemma", "modernbert", "modernbert mean"],
)
@pytest.mark.parametrize("method", ["full", "lora", "ia3"])
def test_models_with_fused_layers(interpreted: Interpreted, kind: str, method: str) -> None:
    assert max(interpreted(fused_model, kind, method).values()) < 1e-5


DECODER = {**PACKED["llama"], "pad_token_id": 0}


@pytest.mark.parametrize(
    ("kind", "options", "fused"),
    [
        ("llama", {}, {"LlamaDecoderLayer", "LlamaRMSNorm", "LlamaAttention", "LlamaMLP"}),
        ("llama", {"hidden_act": "relu"}, {"LlamaDecoderLayer", "LlamaRMSNorm", "LlamaAttention"}),
        ("gemma", {"head_dim": 16}, {"GemmaDecoderLayer", "GemmaRMSNorm", "GemmaAttention", "GemmaMLP"}),
        ("glm", {"head_dim": 16}, {"GlmDecoderLayer", "GlmRMSNorm"}),  # neighbours are the pairs it turns
        ("olmo", {}, {"OlmoDecoderLayer", "OlmoMLP"}),  # its normalisation has no weights
        ("stablelm", {}, set[str]()),
        ("gemma2", {"head_dim": 16}, set[str]()),
    ],
)
def test_blocks_of_another_build_are_left_alone(
    interpreted: Interpreted, kind: str, options: dict[str, Any], fused: set[str]
) -> None:
    assert interpreted(forwards_given, kind, {**DECODER, **options}) == fused


@pytest.mark.parametrize(
    ("hooked", "left"),
    [("self_attn", "LlamaAttention"), ("mlp", "LlamaMLP"), ("layernorm", "LlamaRMSNorm")],
)
def test_modules_that_somebody_looks_at_are_left_alone(interpreted: Interpreted, hooked: str, left: str) -> None:
    everything = {"LlamaDecoderLayer", "LlamaRMSNorm", "LlamaAttention", "LlamaMLP"}
    found = interpreted(forwards_given, "llama", DECODER, hooked)
    assert found == (everything if hooked == "layernorm" else everything - {left})  # the last norm is still fused


def test_attention_behind_a_prefix(interpreted: Interpreted) -> None:
    assert interpreted(behind_a_prefix) < 1e-6


@pytest.mark.parametrize("kind", ["llama", "olmo"])
def test_no_norm_is_computed_twice(interpreted: Interpreted, kind: str) -> None:
    assert set(interpreted(calls_of_norms, kind).values()) == {1}


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_its_share_and_goes_back_through_the_same_mask(interpreted: Interpreted, p: float) -> None:
    found = interpreted(dropout_facts, (93, 3, 101), p)
    assert found["values"] == pytest.approx([0, 1 / (1 - p)], abs=1e-3)
    assert found["share"] == pytest.approx(p, abs=0.01)
    assert found["repeated"]
    assert found["agree"] == pytest.approx([p * p + (1 - p) * (1 - p)] * 2, abs=0.015)
    assert found["error"] < 1e-6


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize("max_grad_norm", [0.5, 1e6])
@pytest.mark.parametrize("without", [(), (0, 4)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-4), (torch.bfloat16, 5e-3)])
def test_adamw_in_small_chunks(
    interpreted: Interpreted, max_grad_norm: float, without: Sequence[int], dtype: torch.dtype, most: float
) -> None:
    assert max(interpreted(with_small_tiles, adamw, SHAPES, dtype, max_grad_norm, without, (2, 3)).values()) < most
