"""DeBERTa-v2's attention among packed sequences: against transformers' own, padded, and its kernels against PyTorch.

The kernels are run on the CPU by Triton's interpreter where Triton is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Interpreted
from engine_parts import CPU, DISENTANGLED, TOKENS, classifier, gradients
from test_attention import SMALL, cu_seqlens_of, relative_error
from tuneoff.models.load import LoadedModel
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.packed import PackedEngine
from tuneoff.training.engines.padded import PaddedEngine
from tuneoff.training.kernels.distances import DistanceRules
from tuneoff.training.kernels.dropout import Dropout

QUIET = {"attention_probs_dropout_prob": 0.0}
BUCKETS = {"position_buckets": 8}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "heads of 8": {"num_attention_heads": 8},
    "heads of 64": {"num_attention_heads": 1},
    "by content only": {"pos_att_type": ["c2p"]},
    "by position only": {"pos_att_type": ["p2c"], **BUCKETS},
    "neither": {"pos_att_type": []},
    "not relative": {"relative_attention": False, "pos_att_type": []},
    "shared": {"share_att_key": True},
    "shared, in buckets": {"share_att_key": True, **BUCKETS, "norm_rel_ebd": "layer_norm"},
    "texts longer than the last bucket": {**BUCKETS, "max_relative_positions": 12},
    "texts longer than the longest distance": {"max_relative_positions": 12},
    "an odd number of buckets": {"position_buckets": 7},
    "without positions of tokens": {**BUCKETS, "position_biased_input": False, "type_vocab_size": 0},
    "another width of embeddings": {"embedding_size": 32, "type_vocab_size": 2},
}


def engines(options: dict[str, Any], method: str = "full", **training: Any) -> list[Any]:
    """A packed and a padded one of models with the same weights."""
    found = []
    for make in (PackedEngine, PaddedEngine):
        loaded = classifier("deberta-v2", {**DISENTANGLED, **QUIET, "initializer_range": 0.2, **options})
        loaded = LoadedModel.of(loaded.model, ("pooler", "classifier"))
        torch.manual_seed(3)
        model = METHODS.classes()[method].model_validate({"method": method}).adapt(loaded)
        found.append(make(model, loaded, TrainingSpec(batch_size=4, **training), CPU, 4))
    return found


def assert_alike(packed: Any, padded: Any) -> None:
    """In logits and gradients."""
    np.testing.assert_allclose(packed.logits(TOKENS), padded.logits(TOKENS), rtol=1e-5, atol=1e-5)
    ours, expected = (gradients(engine, [0, 2, 5, 8]) for engine in (packed, padded))
    assert ours.keys() <= expected.keys()
    for name, gradient in expected.items():  # a weight that nothing reads has no gradient, or one of zeros
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            ours.get(name, torch.zeros_like(gradient)), gradient, rtol=1e-4, atol=1e-5 * max(scale, 5e-2)
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_packed_equals_padded(variant: str) -> None:
    assert_alike(*engines(VARIANTS[variant]))


@pytest.mark.parametrize("variant", ["heads of 64", "shared, in buckets"])
def test_packed_equals_padded_with_gradient_checkpointing(variant: str) -> None:
    packed, padded = engines(VARIANTS[variant], gradient_checkpointing=True)
    assert packed.model.is_gradient_checkpointing
    assert_alike(packed, padded)


@pytest.mark.parametrize("method", ["lora", "ia3", "prompt_tuning", "bitfit"])
@pytest.mark.parametrize("variant", ["by content only", "shared, in buckets"])
def test_adapted_layers_project_positions_too(method: str, variant: str) -> None:
    assert_alike(*engines(VARIANTS[variant], method))


def test_dropout_of_positions_is_drawn_again_by_gradient_checkpointing() -> None:
    losses = []
    for checkpointing in (False, True):
        packed, _ = engines({**BUCKETS, "hidden_dropout_prob": 0.3}, gradient_checkpointing=checkpointing)
        packed.dropout_seed.fill_(5)
        assert any(isinstance(module, Dropout) and module.p for module in packed.model.modules())
        list(packed.steps(TOKENS, [(np.arange(4), 1e-2), (np.arange(4, 10), 1e-2)]))
        losses.append(packed.mean_loss())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_convolution_keeps_it_padded() -> None:
    loaded = classifier("deberta-v2", {**DISENTANGLED, "conv_kernel_size": 3})
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, torch.float32)
    assert engine.describe()["batches"] == "padded"


@pytest.mark.parametrize(("head_size", "kernels"), [(16, "auto"), (64, "torch")])
def test_without_a_kernel_for_it_a_gpu_pads(head_size: int, kernels: str) -> None:
    loaded = classifier("deberta-v2", {**DISENTANGLED, "num_attention_heads": 64 // head_size})
    training = TrainingSpec.model_validate({"batch_size": 4, "kernels": kernels})
    engine = make_engine(loaded.model, loaded, training, torch.device("meta"), torch.bfloat16)
    assert engine.describe()["batches"] == "padded"


RULES = {"log": DistanceRules(8, 8, 40), "linear": DistanceRules(64, -1, 64), "clamped": DistanceRules(16, -1, 16)}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("length", [1, 40, 70])
def test_distances_of_a_bucket_lie_side_by_side(rules: DistanceRules, length: int) -> None:
    table = rules.table(length, CPU)
    assert table.reach >= length
    for bucket, (least, greatest) in enumerate(zip(table.least.tolist(), table.greatest.tolist(), strict=True)):
        assert [d + 1 - table.reach for d in torch.nonzero(table.buckets == bucket).flatten().tolist()] == list(
            range(least, greatest + 1)
        )


def reference(
    parts: Sequence[torch.Tensor], by: Sequence[str], lengths: Sequence[int], table: Any, scale: float, factors: Any
) -> torch.Tensor:
    """What the kernels compute, pair by pair, without anything looked up in a product."""
    query, key, value, position_key, position_query = parts
    pieces, start = [], 0
    for index, length in enumerate(lengths):
        q, k, v = (part[start : start + length].double() for part in (query, key, value))
        start += length
        place = torch.arange(length)
        bucket = table.buckets.cpu()[table.reach - 1 + place[:, None] - place].long().to(q.device)
        scores = torch.einsum("qhd,khd->hqk", q, k)
        if "c2p" in by:
            scores = scores + torch.einsum("qhd,qkhd->hqk", q, position_key.double()[bucket])
        if "p2c" in by:
            scores = scores + torch.einsum("khd,qkhd->hqk", k, position_query.double()[bucket])
        weights = (scores * scale).softmax(-1)
        if factors is not None:
            weights = weights * factors[index]
        pieces.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(pieces)


def agreement(
    by: Sequence[str],
    rules: str,
    lengths: Sequence[int],
    heads: int,
    size: int,
    dtype: torch.dtype,
    device: str = "cpu",
    needed: int | None = None,
    p: float = 0.0,
) -> list[float]:
    """Errors of the result and of the gradients of queries, keys, values and what of positions is used."""
    from tuneoff.training.kernels.disentangled import disentangled_attention

    torch.manual_seed(0)
    table = RULES[rules].table(max(lengths) + 3, torch.device(device))
    parts = [torch.randn(sum(lengths), heads, size) for _ in range(3)]
    parts += [torch.randn(table.count, heads, size) for _ in range(2)]
    parts = [part.to(device, dtype).requires_grad_() for part in parts]
    seed, cu_seqlens, scale = torch.tensor(7, device=device), cu_seqlens_of(lengths, device), size**-0.5 / 2
    upstream = torch.randn(heads, sum(lengths), size).to(device, dtype).transpose(0, 1)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        position_key, position_query = parts[3] if "c2p" in by else None, parts[4] if "p2c" in by else None
        distances, longest = table if by else None, max(lengths) + 3
        return disentangled_attention(
            q, k, v, position_key, position_query, distances, cu_seqlens, longest, scale, p, seed, 3, needed
        )

    out = attend(*parts[:3])
    factors = None
    if p:
        factors = dropped(attend, parts, by, lengths, table, scale)
        share = torch.cat([(factor == 0).flatten() for factor in factors]).float().mean()
        assert abs(float(share) - p) < 0.03
    expected = reference(parts, by, lengths, table, scale, factors)
    if needed is not None:
        read = torch.cat([torch.arange(length) < needed for length in lengths]).to(device)[:, None, None]
        out, expected, upstream = out.where(read, 0.0), expected.where(read, 0.0), upstream.where(read, 0.0)
    used = parts[:3] + [part for name, part in zip(("c2p", "p2c"), parts[3:], strict=True) if name in by]
    ours = torch.autograd.grad(out, used, upstream)
    theirs = torch.autograd.grad(expected, used, upstream.double())
    again = torch.autograd.grad(attend(*parts[:3]), used, upstream)
    assert needed is not None or all(torch.equal(*pair) for pair in zip(ours, again, strict=True))
    return [relative_error(out, expected), *map(relative_error, ours, theirs)]


def dropped(
    attend: Callable[..., torch.Tensor], parts: Sequence[torch.Tensor], by: Any, lengths: Any, table: Any, scale: float
) -> list[torch.Tensor]:
    """What dropout multiplies each weight by, seen by attending to values that say where they stand."""
    query, key, value = parts[:3]
    place = torch.cat([torch.arange(length) for length in lengths]).to(query.device)
    columns: list[torch.Tensor] = []
    whole: list[torch.Tensor] = []
    for first in range(0, max(lengths), query.shape[2]):
        marks = place[:, None] == first + torch.arange(query.shape[2], device=query.device)
        marks = marks.to(value.dtype)[:, None].expand_as(value).contiguous()
        columns.append(attend(query, key, marks).detach().double())
        whole.append(reference([query, key, marks, *parts[3:]], by, lengths, table, scale, None).detach())
    ratios = (torch.cat(columns, dim=2) / torch.cat(whole, dim=2)).split(list(lengths))
    return [ratio[:, :, : len(ratio)].permute(1, 0, 2) for ratio in ratios]


def with_blocks(shape: str, workspace: int, check: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a check with small blocks, and as many heads at a time as a workspace holds."""
    from tuneoff.training.kernels import disentangled, disentangled_tiles
    from tuneoff.training.kernels.attention_tiles import Blocks

    disentangled.WORKSPACE = workspace
    for table in (disentangled_tiles.FORWARD, disentangled_tiles.QUERY_GRADIENT, disentangled_tiles.KEY_GRADIENT):
        table.update(dict.fromkeys(table, Blocks(*SMALL[shape], 4, 2)))
    return check(*arguments)


def whole_model(variant: str, method: str) -> list[float]:
    """Errors of logits and gradients of a model whose attention is computed by the kernels, and that is fused."""
    import tuneoff.training.engines.disentangled as ours_in_engine
    from tuneoff.training.kernels.choice import KERNELS
    from tuneoff.training.kernels.disentangled import disentangled_attention
    from tuneoff.training.kernels.fuse import fuse

    def attend(*parts: Any) -> torch.Tensor:
        query, key, value, position_key, position_query, distances, lengths, scale, needed = parts
        positions = position_key, position_query, distances
        cu_seqlens, seed = cu_seqlens_of(lengths), torch.tensor(7)
        return disentangled_attention(
            query, key, value, *positions, cu_seqlens, max(lengths), scale, 0.0, seed, 3, needed
        )

    vars(ours_in_engine)["disentangled_attention_one_by_one"] = attend
    packed, padded = engines(VARIANTS[variant], method)
    assert fuse(packed.model, KERNELS) > 0
    rows = [0, 5]
    ours, expected = gradients(packed, rows), gradients(padded, rows)
    logits = [torch.from_numpy(engine.logits(TOKENS)) for engine in (packed, padded)]
    return [relative_error(*logits), *(relative_error(gradient, expected[name]) for name, gradient in ours.items())]


@pytest.mark.wide
@pytest.mark.parametrize(("variant", "method"), [("shared, in buckets", "full"), ("plain", "lora")])
def test_a_model_computed_by_the_kernels(interpreted: Interpreted, variant: str, method: str) -> None:
    assert max(interpreted(with_blocks, "wide", 1 << 20, whole_model, variant, method)) < 1e-4


BOTH = ("c2p", "p2c")
LENGTHS = [1, 33, 0, 50, 16, 0]


@pytest.mark.wide
def test_a_small_case_of_the_kernels(interpreted: Interpreted) -> None:
    call = (agreement, BOTH, "log", [3, 0, 20], 2, 32, torch.float32)
    assert max(interpreted(with_blocks, "wide", 1, *call)) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize(("rules", "shape"), [("log", "wide"), ("linear", "tall"), ("clamped", "wide")])
@pytest.mark.parametrize("by", [BOTH, ("c2p",), ("p2c",), ()], ids=str)
def test_kernels_agree_with_attention_by_pair(
    interpreted: Interpreted, by: tuple[str, ...], rules: str, shape: str
) -> None:
    errors = interpreted(with_blocks, shape, 1 << 20, agreement, by, rules, LENGTHS, 2, 32, torch.float32)
    assert max(errors) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("needed", [1, 20])
def test_only_leading_tokens_are_needed(interpreted: Interpreted, needed: int, shape: str) -> None:
    call = (agreement, BOTH, "log", LENGTHS, 2, 32, torch.float32, "cpu", needed)
    assert max(interpreted(with_blocks, shape, 1 << 20, *call)) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize("size", [64, 128])
def test_head_sizes_in_half_precision(interpreted: Interpreted, size: int) -> None:
    # float16, because the interpreter multiplies matrices of bfloat16 wrongly
    call = (agreement, BOTH, "log", [1, 33, 0, 16], 1, size, torch.float16)
    assert max(interpreted(with_blocks, "wide", 1 << 20, *call)) < 5e-3


@pytest.mark.wide
@pytest.mark.parametrize("workspace", [1, 1 << 20])
def test_dropout_goes_back_through_the_same_mask(interpreted: Interpreted, workspace: int) -> None:
    call = (agreement, BOTH, "log", [33, 0, 50], 2, 32, torch.float32, "cpu", None, 0.25)
    assert max(interpreted(with_blocks, "wide", workspace, *call)) < 1e-4
