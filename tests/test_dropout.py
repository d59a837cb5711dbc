"""Dropout of our own: its share, its seed, and other elements each time that a layer is called."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from engine_parts import CPU, PACKED, TOKENS, classifier
from tuneoff.spec import TrainingSpec
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.kernels.dropout import Calls, own_dropout


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_drops_its_share_and_follows_the_seed(p: float) -> None:
    model = nn.Sequential(nn.Dropout(p), nn.Dropout(p))
    seed = own_dropout(model, CPU)
    first, second = model.train()
    ones = torch.ones(1001, 999, requires_grad=True)
    dropped = first(ones)
    assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=2e-3)
    assert dropped.mean().item() == pytest.approx(1.0, abs=5e-3)
    dropped.sum().backward()
    assert ones.grad is not None
    assert torch.equal(ones.grad, dropped)
    assert torch.equal(first(ones), dropped)
    assert 0.5 < (second(ones) == dropped).float().mean() / (p * p + (1 - p) ** 2) < 1.5
    seed += 1
    assert not torch.equal(first(ones), dropped)
    assert torch.equal(model.eval()(ones), ones)


class Shared(nn.Module):
    """A layer that is called three times in a pass, as ALBERT's are, perhaps with checkpointing."""

    def __init__(self, contexts: Any = None) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5))
        self.contexts = contexts

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        masks = []
        for _ in range(3):
            if self.contexts is None:
                x = self.layer(x)
            else:
                x = checkpoint(self.layer, x, use_reentrant=False, preserve_rng_state=False, context_fn=self.contexts)
            masks.append(x.detach() != 0)
        return x, masks


def test_a_layer_that_is_called_again_drops_others_also_when_it_is_computed_again() -> None:
    found = []
    for checkpointed in (False, True):
        calls = Calls()
        torch.manual_seed(0)
        model = Shared(calls.checkpointed if checkpointed else None).train()
        seed = own_dropout(model, CPU, calls)
        x = torch.randn(40, 64)
        for _ in range(2):
            out, masks = model(x)
            out.square().sum().backward()
            agreement = [(one == other).float().mean().item() for one, other in itertools.combinations(masks, 2)]
            assert agreement == pytest.approx([0.5] * 3, abs=0.05)
        repeated = model(x)[1]
        assert all(torch.equal(one, other) for one, other in zip(masks, repeated, strict=True))
        seed += 1
        assert not torch.equal(model(x)[1][0], masks[0])
        found.append((out.detach(), {name: weight.grad for name, weight in model.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=0)


def test_shared_layers_of_albert_drop_different_elements() -> None:
    loaded = classifier("albert", {**PACKED["albert"], "num_hidden_layers": 4, "hidden_dropout_prob": 0.5})
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=4), CPU, torch.float32)
    dropped: list[torch.Tensor] = []
    module = loaded.model.base_model.encoder.albert_layer_groups[0].albert_layers[0].attention.output_dropout
    module.register_forward_hook(lambda _module, _inputs, out: dropped.append(out.detach() == 0))
    list(engine.steps(TOKENS, [(np.array([2, 8]), 1e-3)]))
    assert len(dropped) == 4
    for one, other in itertools.combinations(dropped, 2):
        assert (one == other).float().mean().item() == pytest.approx(0.5, abs=0.05)
