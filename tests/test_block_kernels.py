"""The kernels of decoders' and ModernBERT's blocks, and whole models with fused layers, as in test_kernels.py."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from conftest import Interpreted
from engine_parts import PACKED, classifier
from kernel_checks import Errors, Kernel, draw, errors_of, with_small_tiles
from test_attention import relative_error


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


NORMS = ["rms", "gemma", "layer", "layer with bias"]


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("trained", [False, True])
def test_norms_before_layers(interpreted: Interpreted, kind: str, trained: bool) -> None:
    assert max(interpreted(pre_norms, (2, 7), 53, kind, trained).values()) < 1e-5


@pytest.mark.wide
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


@pytest.mark.wide
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


@pytest.mark.wide
@pytest.mark.parametrize("heads", [(6, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize(("normed", "trained"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_rotary_positions_in_small_tiles(
    interpreted: Interpreted, heads: tuple[int, int, int], normed: bool, trained: bool, dtype: torch.dtype, most: float
) -> None:
    assert max(interpreted(with_small_tiles, rotations, 7, heads, 32, normed, trained, dtype).values()) < most


@pytest.mark.wide
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
