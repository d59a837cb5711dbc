"""Our own attention kernels on a CUDA device, against attention by sequence and by pair."""

from __future__ import annotations

import pytest
import torch

from gpu_parts import CUDA
from test_attention import agreement, cu_seqlens_of, dropout_agreement, inputs
from test_disentangled import BOTH, RULES
from test_disentangled import agreement as disentangled_agreement

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.mark.parametrize(
    ("heads", "pairs", "size", "causal", "window"),
    [
        (12, 12, 64, False, None),
        (12, 12, 64, True, None),
        (12, 12, 64, False, 100),
        (12, 12, 64, False, 1),
        (4, 2, 64, True, 100),
        (6, 1, 64, False, None),
        (1, 1, 64, False, None),
        (2, 2, 32, False, None),
        (4, 2, 32, True, 70),
        (2, 2, 128, False, None),
        (4, 2, 128, True, 70),
    ],
)
def test_own_attention_agrees_with_attention_by_sequence(
    heads: int, pairs: int, size: int, causal: bool, window: int | None
) -> None:
    lengths = [1, 33, 0, 512, 64, 128, 265, 2, 1100, 0]
    errors = agreement(lengths, heads, pairs, size, causal, window, torch.bfloat16, "cuda")
    assert max(errors) < 0.01, errors


@pytest.mark.parametrize("size", [32, 64, 128])
def test_own_attention_read_at_first_tokens_only(size: int) -> None:
    errors = agreement([1, 300, 0, 512, 64], 4, 4, size, False, None, torch.bfloat16, "cuda", needed=1)
    assert max(errors) < 0.01, errors


def test_own_attention_of_short_sequences() -> None:
    assert max(agreement([1], 1, 1, 64, False, None, torch.bfloat16, "cuda")) < 0.01
    assert max(agreement([5, 0, 120, 64], 3, 3, 64, False, None, torch.bfloat16, "cuda", apart=True)) < 0.01


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("by", [BOTH, ("c2p",), ("p2c",), ()], ids=str)
def test_attention_by_distance_agrees_with_attention_by_pair(by: tuple[str, ...], rules: str, size: int) -> None:
    lengths = [1, 33, 0, 512, 64, 128, 265, 2, 700, 0]
    errors = disentangled_agreement(by, rules, lengths, 3, size, torch.bfloat16, "cuda")
    assert max(errors) < 0.02, errors


@pytest.mark.parametrize(("needed", "p"), [(1, 0.0), (70, 0.0), (None, 0.1)])
def test_attention_by_distance_with_dropout_or_read_at_few_tokens(needed: int | None, p: float) -> None:
    lengths = [1, 300, 0, 512, 64]
    errors = disentangled_agreement(BOTH, "log", lengths, 4, 64, torch.bfloat16, "cuda", needed, p)
    assert max(errors) < 0.03, errors


@pytest.mark.parametrize("size", [32, 64, 128])
def test_own_attention_goes_back_through_the_mask_of_its_dropout(size: int) -> None:
    p = 0.1
    found = dropout_agreement([130, 1, 0, 300, 64], 4, size, p, torch.bfloat16, "cuda")
    assert found["share"] == pytest.approx(p, abs=2e-3)
    assert found["repeated"]
    unrelated = p * p + (1 - p) * (1 - p)
    assert found["agree"] == pytest.approx([unrelated] * 2, abs=0.005)
    assert found["neighbours"] == pytest.approx([unrelated] * 7, abs=0.01)
    assert max(found["errors"]) < 0.01


def test_own_attention_in_a_graph_follows_lengths_and_seed() -> None:
    from tuneoff.training.kernels.attention import attention

    parts = inputs([600], 4, 4, 64, torch.bfloat16, "cuda")
    cu_seqlens, seed = cu_seqlens_of([300, 200, 100], "cuda"), torch.tensor(5, device=CUDA)
    upstream = torch.randn(600, 4, 64).to(CUDA, torch.bfloat16)

    def step() -> list[torch.Tensor]:
        out = attention(*parts, cu_seqlens, 300, None, False, None, 0.1, seed, 3)
        return [out, *torch.autograd.grad(out, parts, upstream)]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        captured = step()
    for lengths, drawn in (([300, 200, 100], 5), ([300, 200, 100], 6), ([300, 0, 300], 6), ([250, 250, 100], 6)):
        cu_seqlens.copy_(cu_seqlens_of(lengths))
        seed.fill_(drawn)
        graph.replay()
        torch.cuda.synchronize()
        for graphed, eager in zip(captured, step(), strict=True):
            assert torch.equal(graphed, eager)
