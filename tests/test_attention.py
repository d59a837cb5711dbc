"""The attention kernels, run on the CPU by Triton's interpreter where Triton is installed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from conftest import Interpreted

LENGTHS = [1, 33, 0, 50, 16, 0]
SMALL = {"wide": (32, 16), "tall": (16, 32)}
"""Blocks of queries by keys, so that short sequences span a few."""


def cu_seqlens_of(lengths: Sequence[int], device: str = "cpu") -> torch.Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device=device)


def inputs(
    lengths: Sequence[int], heads: int, pairs: int, size: int, dtype: torch.dtype, device: str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Views into one tensor."""
    mixed = torch.randn(sum(lengths), heads + 2 * pairs, size).to(device, dtype)
    query, key, value = (part.detach().requires_grad_() for part in mixed.split([heads, pairs, pairs], dim=1))
    return query, key, value


def reference(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    scale: float,
    causal: bool,
    window: int | None,
    factors: Sequence[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Attention in float32, sequence by sequence; weights are multiplied by the given factors."""
    group = query.shape[1] // key.shape[1]
    key, value = (part.float().repeat_interleave(group, dim=1) for part in (key, value))
    pieces = []
    for index, (q, k, v) in enumerate(
        zip(*(part.split(list(lengths)) for part in (query.float(), key, value)), strict=True)
    ):
        weights = (torch.einsum("qhd,khd->hqk", q, k) * scale).masked_fill(
            ~visible(len(q), causal, window).to(q.device), -torch.inf
        )
        weights = weights.softmax(-1)
        if factors is not None:
            weights = weights * factors[index]
        pieces.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(pieces)


def visible(length: int, causal: bool, window: int | None) -> torch.Tensor:
    distance = torch.arange(length)[:, None] - torch.arange(length)
    return (distance.abs() < (window or length + 1)) & (distance >= 0 if causal else True)


def factors_of(
    attend: Callable[..., torch.Tensor], query: torch.Tensor, key: torch.Tensor, lengths: Sequence[int]
) -> Any:
    """What dropout multiplies each weight by, seen by attending to values that say where they stand.

    Args:
        attend: takes query, key and value.
        query: shape (T, heads, head size).
        key: the same shape; each query sees every key of its sequence.
        lengths: of the sequences.
    """
    size = query.shape[2]
    position = torch.cat([torch.arange(length) for length in lengths]).to(query.device)
    columns = []
    for first in range(0, max(lengths), size):
        value = (position[:, None] == first + torch.arange(size, device=query.device)).to(query.dtype)
        columns.append(attend(query, key, value[:, None].expand(*key.shape).contiguous()).detach().float())
    rows = torch.cat(columns, dim=2).split(list(lengths))
    ones = torch.eye(max(lengths), device=query.device)
    factors = []
    for part, q, k in zip(rows, query.detach().split(list(lengths)), key.detach().split(list(lengths)), strict=True):
        length = len(part)
        whole = reference(
            q, k, ones[:length, None, :length].expand(-1, k.shape[1], -1), [length], size**-0.5, False, None
        )
        factors.append((part[:, :, :length] / whole).permute(1, 0, 2))
    return factors


def relative_error(ours: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over that of what is expected, or over 1 where that is smaller."""
    difference = (ours.detach().float() - expected.detach().float()).norm()
    return float(difference / expected.detach().float().norm().clamp_min(1.0))


def agreement(
    lengths: Sequence[int],
    heads: int,
    pairs: int,
    size: int,
    causal: bool,
    window: int | None,
    dtype: torch.dtype,
    device: str = "cpu",
    apart: bool = False,
    needed: int | None = None,
) -> list[float]:
    """Errors of the output and of the three gradients.

    The last two say whether the inputs lie side by side or apart, and of how many leading tokens the result is read.
    """
    from tuneoff.training.kernels.attention import attention

    torch.manual_seed(0)
    parts = inputs(lengths, heads, pairs, size, dtype, device)
    if apart:
        q, k, v = (part.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for part in parts)
        parts = q, k, v
    upstream = torch.randn(size, heads, sum(lengths)).to(device, dtype).permute(2, 1, 0)
    seed = torch.tensor(7, device=device)
    cu_seqlens = cu_seqlens_of(lengths, device)
    out = attention(*parts, cu_seqlens, max(lengths) + 3, None, causal, window, 0.0, seed, 3, needed)
    assert out.is_contiguous()
    expected = reference(*parts, lengths, size**-0.5, causal, window)
    if needed is not None:
        read = torch.cat([torch.arange(length) < needed for length in lengths]).to(device)[:, None, None]
        out, expected, upstream = out.where(read, 0.0), expected.where(read, 0.0), upstream.where(read, 0.0)
    ours = torch.autograd.grad(out, parts, upstream)
    theirs = torch.autograd.grad(expected, parts, upstream.float())
    assert all(gradient.dtype == dtype for gradient in ours)
    return [relative_error(out, expected), *map(relative_error, ours, theirs)]


def dropout_agreement(
    lengths: Sequence[int], heads: int, size: int, p: float, dtype: torch.dtype, device: str = "cpu"
) -> dict[str, Any]:
    """What a test asks of dropout."""
    from tuneoff.training.kernels.attention import attention

    torch.manual_seed(0)
    parts = inputs(lengths, heads, heads, size, dtype, device)
    upstream = torch.randn(sum(lengths), heads, size).to(device, dtype)

    def attend(seed: int, salt: int) -> Callable[..., torch.Tensor]:
        drawn = torch.tensor(seed, device=device)
        cu_seqlens = cu_seqlens_of(lengths, device)
        return lambda q, k, v: attention(q, k, v, cu_seqlens, max(lengths), None, False, None, p, drawn, salt)

    masks = [
        torch.cat([(factor > 0).flatten() for factor in factors_of(attend(*pair), *parts[:2], lengths)])
        for pair in ((7, 3), (7, 3), (8, 3), (7, 5))
    ]
    factors = factors_of(attend(7, 3), *parts[:2], lengths)
    kept = [(factor > 0).float() / (1 - p) for factor in factors]
    out = attend(7, 3)(*parts)
    expected = reference(*parts, lengths, size**-0.5, False, None, kept)
    ours = torch.autograd.grad(out, parts, upstream)
    theirs = torch.autograd.grad(expected, parts, upstream.float())
    longest = kept[max(range(len(lengths)), key=lambda index: lengths[index])] > 0
    return {
        "share": 1 - masks[0].float().mean().item(),
        "repeated": torch.equal(masks[0], masks[1]),
        "agree": [(masks[0] == other).float().mean().item() for other in masks[2:]],
        "neighbours": [
            (longest == longest.roll(shift, dim)).float().mean().item()
            for dim, shift in ((0, 1), (1, 1), (1, 8), (1, 16), (2, 1), (2, 8), (2, 16))
        ],
        "factors": max(
            float((factor - keep).abs().max()) for factor, keep in zip(factors, kept, strict=True) if len(factor[0])
        ),
        "errors": [relative_error(out, expected), *map(relative_error, ours, theirs)],
    }


def with_blocks(shape: str, split: bool, check: Callable[..., Any], *arguments: Any) -> Any:
    """Runs a check with small blocks."""
    from tuneoff.training.kernels import attention_tiles as tiles

    small = tiles.Blocks(*SMALL[shape], 4, 2, split=split)
    for table in (tiles.FORWARD, tiles.QUERY_GRADIENT, tiles.KEY_GRADIENT):
        table.update(dict.fromkeys(tiles.FORWARD, small))
    return check(*arguments)


def test_a_small_case(interpreted: Interpreted) -> None:
    call = (agreement, [3, 0, 37], 2, 1, 32, True, 20, torch.float32, "cpu", False, 35)
    assert max(interpreted(with_blocks, "wide", True, *call)) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize(("shape", "split"), [("wide", False), ("wide", True), ("tall", True)])
@pytest.mark.parametrize("window", [None, 1, 5, 40])
@pytest.mark.parametrize("causal", [False, True])
def test_agrees_with_attention_by_sequence(
    interpreted: Interpreted, causal: bool, window: int | None, shape: str, split: bool
) -> None:
    errors = interpreted(with_blocks, shape, split, agreement, LENGTHS, 2, 1, 32, causal, window, torch.float32)
    assert max(errors) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (False, 5), (True, 40)])
@pytest.mark.parametrize("needed", [1, 20])
def test_only_leading_tokens_are_needed(
    interpreted: Interpreted, needed: int, causal: bool, window: int | None, shape: str
) -> None:
    call = (agreement, LENGTHS, 2, 1, 32, causal, window, torch.float32, "cpu", False, needed)
    assert max(interpreted(with_blocks, shape, True, *call)) < 1e-5


@pytest.mark.wide
@pytest.mark.parametrize(("heads", "pairs", "size"), [(4, 4, 64), (4, 2, 64), (3, 1, 128)])
def test_head_sizes_and_groups_in_half_precision(interpreted: Interpreted, heads: int, pairs: int, size: int) -> None:
    # float16, because the interpreter multiplies matrices of bfloat16 wrongly
    errors = interpreted(with_blocks, "wide", False, agreement, LENGTHS, heads, pairs, size, False, None, torch.float16)
    assert max(errors) < 2e-3


@pytest.mark.wide
@pytest.mark.parametrize("shape", SMALL)
def test_dropout_drops_its_share_and_goes_back_through_the_same_mask(interpreted: Interpreted, shape: str) -> None:
    p = 0.25
    found = interpreted(with_blocks, shape, False, dropout_agreement, LENGTHS, 2, 32, p, torch.float32)
    assert found["share"] == pytest.approx(p, abs=0.015)
    assert found["repeated"]
    unrelated = p * p + (1 - p) * (1 - p)
    assert found["agree"] == pytest.approx([unrelated] * 2, abs=0.02)
    assert found["neighbours"] == pytest.approx([unrelated] * 7, abs=0.04)
    assert found["factors"] < 1e-3
    assert max(found["errors"]) < 1e-5
