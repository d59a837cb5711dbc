"""What the tests on a CUDA device share: engines in bfloat16, batches of many lengths, and how they are trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from engine_parts import PACKED, classifier, make_tokens
from tuneoff.data.tokens import Tokens
from tuneoff.models.load import LoadedModel
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.tasks.losses import CrossEntropy
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.kernels.dropout import Dropout

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
MANY = make_tokens(np.random.default_rng(1).integers(1, 60, size=70).tolist(), seed=1)
BATCHES = [np.arange(start, min(start + 8, 70)) for start in range(0, 70, 8)]
EAGER = {"adalora", "boft", "fourierft", "psoft", "vblora", "waveft"}
"""Methods whose layers do what a graph cannot hold; the steps of all others are graphs."""


def engine_for(
    kind: str = "bert",
    method: str = "full",
    checkpointing: bool = False,
    dropout: bool = True,
    loss: CrossEntropy | None = None,
) -> Engine:
    loaded = classifier(kind, PACKED[kind])
    loaded = LoadedModel.of(loaded.model, ("classifier",) if hasattr(loaded.model, "classifier") else ("score",))
    torch.manual_seed(3)
    model = METHODS.classes()[method].model_validate({"method": method}).adapt(loaded)
    training = TrainingSpec(batch_size=8, gradient_checkpointing=checkpointing)
    engine = make_engine(model, loaded, training, CUDA, torch.bfloat16, loss=loss)
    if not dropout:
        for module in engine.model.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
    return engine


def train(engine: Engine, graphed: bool, tokens: Tokens = MANY) -> tuple[np.ndarray[Any, Any], float]:
    if graphed:
        engine.prepare(tokens, BATCHES)
        assert engine.describe()["step"] == "graph", engine.describe()
    torch.cuda.manual_seed(11)
    list(engine.steps(tokens, [(rows, 1e-3) for rows in BATCHES] * 2))
    loss = engine.mean_loss()
    return engine.logits(tokens), loss
