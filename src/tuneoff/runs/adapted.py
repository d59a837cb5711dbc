"""A run's model, loaded and adapted, and what trains it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from tuneoff.measure.memory import CudaPeak
from tuneoff.measure.step_marks import StepMarks
from tuneoff.models.count import parameter_counts
from tuneoff.models.hide import bitsandbytes_hidden
from tuneoff.models.load import LoadedModel, load_classifier, load_config, load_tokenizer
from tuneoff.models.quantised import quantisation_of
from tuneoff.models.virtual_tokens import NO_VIRTUAL_TOKENS, VirtualTokens, ids_behind, place_in_texts
from tuneoff.records.measurements import ParameterCounts
from tuneoff.runs.memory_parts import process_bytes
from tuneoff.runs.workplace import Workplace
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.engines.padded import padded_inputs
from tuneoff.training.loop import Training
from tuneoff.training.optim.adamw import learning_rates
from tuneoff.training.order import run_batches
from tuneoff.training.selection import KeptWeights

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.data.tokens import Tokens
    from tuneoff.training.engines.base import Engine
    from tuneoff.training.fit import FeatureFit


TEXTS_TO_START_FROM = 1024


@dataclass(frozen=True)
class AdaptedModel:
    """A model as its method has it.

    Attributes:
        model: what is trained and saved.
        loaded: what it was made from.
        parameters: how many it has.
        virtual: the tokens that its method puts into each text.
    """

    model: nn.Module
    loaded: LoadedModel
    parameters: ParameterCounts
    virtual: VirtualTokens


@dataclass(frozen=True)
class Trainer:
    """What trains a model.

    Attributes:
        engine: that computes.
        training: goes through the run.
        examples: training examples of the steps that are planned, each counted as often as it is trained on.
        process: on a CPU, bytes that were resident before the first step beside weights and optimiser; None where there
            are no steps, and on a GPU.
    """

    engine: Engine
    training: Training | FeatureFit
    examples: int
    process: int | None = None


def load_and_adapt(place: Workplace) -> AdaptedModel:
    """The run's model with its head drawn from the seed, and what the method adds to it."""
    task, arm = place.task, place.task.run.arm
    config = load_config(task.model_folder, task.num_labels, task.pad_token_id)
    quantisation = quantisation_of(arm.quantization, place.precision)
    loading_device = place.parallel.loading_device(place.device)
    loaded = load_classifier(task.model_folder, config, task.run.seed, loading_device, quantisation)
    virtual = NO_VIRTUAL_TOKENS
    if arm.virtual_tokens:
        ids = ids_behind(loaded.model.get_input_embeddings().num_embeddings, arm.virtual_tokens)
        virtual = VirtualTokens(ids, place_in_texts(load_tokenizer(task.model_folder)))
    torch.manual_seed(task.run.seed)
    with nullcontext() if arm.quantised else bitsandbytes_hidden():
        model = arm.adapt(loaded)
    return AdaptedModel(model, loaded, ParameterCounts(**parameter_counts(model, loaded)), virtual)


def start_from_texts(place: Workplace, adapted: AdaptedModel, train: Tokens) -> AdaptedModel:
    """The same model once its method has read training texts, drawn by the run's seed."""
    task = place.task
    train = train.by_sequence
    order = np.random.default_rng(task.run.seed).permutation(len(train))[:TEXTS_TO_START_FROM]
    batches = np.split(order, range(task.training.batch_size, len(order), task.training.batch_size))
    inputs = [padded_inputs(train, rows, adapted.loaded.architecture) for rows in batches]
    task.run.arm.start(adapted.model, inputs)
    counts = ParameterCounts(**parameter_counts(adapted.model, adapted.loaded))
    return replace(adapted, parameters=counts)


def prepare_training(place: Workplace, adapted: AdaptedModel, tokens: dict[str, Tokens]) -> Trainer:
    """An engine that is ready to train the model, from the checkpoint on where there is one.

    Args:
        place: of the run's process.
        adapted: the model, which moves to the device.
        tokens: the splits `train` and `validation`.
    """
    if place.task.run.arm.fitted:
        return _prepare_fit(place, adapted, tokens)
    task, training_spec = place.task, place.task.training
    learned = task.learned
    loss = learned.loss(training_spec, tokens["train"].labels)
    engine = make_engine(
        adapted.model,
        adapted.loaded,
        training_spec,
        place.device,
        place.precision,
        place.micro_batch,
        place.parallel,
        task.run.arm,
        loss,
    )
    planned = run_batches(tokens["train"].lengths, training_spec, task.run.seed, task.run.steps, engine.bucketed)
    place.peak.reset()
    if isinstance(place.peak, CudaPeak):
        engine.marks = StepMarks(place.peak, engine.model, engine.optimiser.state)
    steps = [rows for epoch in planned for rows in epoch]
    engine.prepare(tokens["train"], steps)
    rates = learning_rates(task.run.arm.rate, task.run.steps, training_spec.warmup_ratio)
    keeps = training_spec.select == "best" and not task.run.trial
    training = Training(
        engine,
        tokens,
        planned[: task.epochs] if task.first_steps is None else [steps[: task.first_steps]],
        rates,
        place.watch,
        place.train_peak,
        place.checkpoints,
        training_spec,
        KeptWeights(task.run_folder) if keeps else None,
        learned,
        OBJECTIVES.named(task.objective),
    )
    if place.saved is not None:
        training.resume(place.saved)
        if place.device.type == "cpu":
            place.peak.reset()  # what reading the checkpoint took is gone again
    process = process_bytes(place, engine) if place.device.type == "cpu" else None
    return Trainer(engine, training, sum(map(len, steps)), process)


def _prepare_fit(place: Workplace, adapted: AdaptedModel, tokens: dict[str, Tokens]) -> Trainer:
    from tuneoff.models.mean_pooled import MeanPooledClassifier
    from tuneoff.training.fit import FeatureEngine, FeatureFit

    task = place.task
    assert isinstance(adapted.model, MeanPooledClassifier)
    engine = FeatureEngine(adapted.model, adapted.loaded, task.training, place.device, place.parallel)
    place.peak.reset()
    objective = OBJECTIVES.named(task.objective)
    training = FeatureFit(
        task.run.arm,
        engine,
        tokens,
        place.watch,
        place.train_peak,
        task.run.steps,
        task.training,
        task.learned,
        objective,
    )
    return Trainer(engine, training, examples=training.examples)
