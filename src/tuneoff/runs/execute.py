"""The way of a run through its process: load, adapt, train, evaluate on test, save, report."""

from __future__ import annotations

import shutil
import threading
import time
from multiprocessing.connection import Connection
from operator import itemgetter
from typing import TYPE_CHECKING

import torch

from tuneoff.data.prepared import load_tokens
from tuneoff.measure.energy import LEAST_SECONDS, together
from tuneoff.measure.held import held_bytes
from tuneoff.models.save import kind_of, save_trained
from tuneoff.records.conditions import Conditions
from tuneoff.records.measurements import CurvePoint, MeasuredPeakBytes, PeakBytes, PeakParts
from tuneoff.records.run import DivergedRun, ScoredRun, Scores, TrainedRun
from tuneoff.records.saved_model import SavedModel, TextRules
from tuneoff.runs.adapted import AdaptedModel, Trainer, load_and_adapt, prepare_training, start_from_texts
from tuneoff.runs.files import MODEL
from tuneoff.runs.memory_parts import memory_parts
from tuneoff.runs.reporter import Reporter
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.runs.workplace import Workplace
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.tasks.decide import decided
from tuneoff.tasks.scores import scores_of
from tuneoff.training.latency import inference_latency
from tuneoff.training.loop import TrainingDiverged, check_finite

if TYPE_CHECKING:
    from tuneoff.training.engines.base import Engine


def carry_out(task: RunTask, device: torch.device, connection: Connection, stopping: threading.Event) -> Outcome:
    """Carries out a run in this process; on several devices, this process's part of it.

    Args:
        task: the run.
        device: to compute on.
        connection: to the driver, which is told how far the run is.
        stopping: set where the run is to stop after the step under way.

    Raises:
        TrainingStopped: once it has stopped, with a checkpoint to go on from.
    """
    place = Workplace.set_up(task, device)
    tokens = load_tokens(task.data_folder, task.texts.long_texts, task.run.part, ("train", "validation"))
    with place.watch.timing("setup"):
        adapted = load_and_adapt(place)
    tokens = {name: split.with_virtual(adapted.virtual) for name, split in tokens.items()}
    if task.run.arm.reads_texts:
        with place.watch.timing("setup" if place.saved else "train"):  # of a run that goes on it was counted before
            adapted = start_from_texts(place, adapted, tokens["train"])
    with place.watch.timing("setup"):
        trainer = prepare_training(place, adapted, tokens)
    _log_beginning(place, adapted, trainer)
    guess = trainer.engine.loss.guess(tokens["train"].labels)
    reporter = Reporter(
        connection, task.run.steps, trainer.examples, lambda: trainer.training.current_loss, place.train_peak
    )
    try:
        curve = trainer.training.run(reporter.step, stopping.is_set)
        peak = place.train_peak.so_far()
        parts = memory_parts(place, trainer, peak["train"])
    except TrainingDiverged as diverged:
        return _diverged(place, trainer, guess, diverged)
    finally:
        trainer.engine.finish()
    for point in curve:
        print(dict(point), flush=True)

    test = logits = None
    tested_in = 0.0
    learned, objective = task.learned, OBJECTIVES.named(task.objective)
    if not task.run.trial:
        if task.refit is None:  # which has trained on what these are chosen on, and keeps those of its run
            validation = trainer.training.validation_logits()
            learned = decided(learned, task.training, objective, validation, tokens["validation"].labels)
        name = "test" if task.first_steps is None else "validation"
        test = load_tokens(task.data_folder, learned.rules.long_texts, task.run.part, (name,))[name]
        test = test.with_virtual(adapted.virtual)
        before = place.watch.so_far().get("eval", 0.0)
        with place.watch.timing("eval"), place.train_peak.evaluating():
            logits = trainer.engine.logits(test)
        tested_in = place.watch.so_far()["eval"] - before
        try:
            check_finite(logits, "of texts of the test split")
        except TrainingDiverged as diverged:
            return _diverged(place, trainer, guess, diverged)
    peaks = place.ranks.gather((peak["train"], place.train_peak.so_far()["eval"], peak["reserved"]))
    joules = together(place.ranks.gather(place.watch.train_joules))
    all_parts = place.ranks.gather((peak["train"], parts))
    weights = place.parallel.whole_weights(adapted.model, trained_only=kind_of(adapted.model) != "whole")
    place.ranks.disconnect()
    if not place.ranks.first:
        return Outcome(None)

    scores = None
    if test is not None and logits is not None:
        truth, answers = learned.truth(test.labels), learned.answers(logits)
        # Beside other runs it would say how busy the device is; each arm has a run that has the device alone.
        latency = inference_latency(trainer.engine, test) if task.gpu_bytes is None else None
        scores = Scores(
            **scores_of(learned, truth, answers),
            test_score=objective.value(truth, learned.judged(objective, logits)),
            temperature=learned.rules.temperature,
            thresholds=learned.rules.thresholds,
            inference_latency_seconds=None if latency is None else latency.median,
            inference_latency_p95_seconds=None if latency is None else latency.p95,
            inference_texts_per_second=len(test) / tested_in,
            checkpoint_bytes=_save(adapted, place, learned.rules, weights),
        )
    train, evaluation, reserved = map(max, zip(*peaks, strict=True))
    peak_bytes = MeasuredPeakBytes(train=train, eval=evaluation, reserved=reserved)
    parts = max(all_parts, key=itemgetter(0))[1]
    trained = _trained(place, adapted, trainer, curve, guess, peak_bytes, parts, joules)
    return Outcome(trained if scores is None else ScoredRun(**dict(trained), **dict(scores)), logits)


def conditions_of(task: RunTask, device: torch.device, engine: Engine | None = None) -> Conditions:
    """What a run computes on, in its own process."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return task.allocation.conditions(task.run.arm, gpu, engine.describe() if engine else None)


def _log_beginning(place: Workplace, adapted: AdaptedModel, trainer: Trainer) -> None:
    went_on = f", goes on after step {place.saved['done']}" if place.saved else ""
    computes = f"{place.device}, {place.precision}, {trainer.engine.describe()}"
    print(f"{place.task.run.id}: {computes}, parameters {dict(adapted.parameters)}{went_on}", flush=True)


def _diverged(place: Workplace, trainer: Trainer, guess: float, diverged: TrainingDiverged) -> Outcome:
    task, peak = place.task, place.train_peak.so_far()
    print(diverged, flush=True)
    advice = "" if task.run.trial else "; a smaller learning rate may help"
    result = DivergedRun(
        **dict(task.identity()),
        status="diverged",
        error=f"{diverged}{advice}",
        peak_memory_bytes=PeakBytes(train=peak["train"], eval=None, reserved=peak["reserved"]),
        memory_kind=place.peak.kind,
        conditions=conditions_of(task, place.device, trainer.engine),
        guess_loss=guess,
        loss_trace=tuple(trainer.training.trace),
    )
    return Outcome(result, failed_at=time.monotonic())


def _save(adapted: AdaptedModel, place: Workplace, texts: TextRules, weights: dict[str, torch.Tensor] | None) -> int:
    """Saves what was trained, and says how many bytes its weights take; it is kept if the study says so."""
    task = place.task
    saved = SavedModel(
        kind=kind_of(adapted.model),
        base=task.base,
        texts=texts,
        study=task.study,
        run_id=task.run.id,
        arm=task.run.arm.name,
        method=task.run.arm.method,
        refit=task.refit,
        seed=task.run.seed,
        virtual_tokens=task.run.arm.virtual_tokens,
        learning_rate=task.run.arm.rate,
        precision=task.allocation.precision,
        quantization=task.run.arm.quantization,
        sha256={},
    )
    folder = task.run_folder / MODEL
    size = save_trained(adapted.model, folder, task.model_folder, saved, weights)
    if not task.keep_model:
        shutil.rmtree(folder)
    return size


def _trained(
    place: Workplace,
    adapted: AdaptedModel,
    trainer: Trainer,
    curve: list[CurvePoint],
    guess: float,
    peak: MeasuredPeakBytes,
    parts: PeakParts | None,
    joules: float | None,
) -> TrainedRun:
    """All that is known of a run that came to its end, but its scores on test."""
    task, spent = place.task, place.watch.so_far()
    weights, optimiser = held_bytes(trainer.engine.model, trainer.engine.optimiser.state())
    selected = curve[trainer.training.selected]
    return TrainedRun(
        **dict(task.identity().model_copy(update={"steps": curve[-1].step})),
        validation_accuracy=selected.validation_accuracy,
        selected_epoch=selected.epoch,
        selected_train_seconds=selected.train_seconds,
        parameters=adapted.parameters,
        train_seconds=spent["train"],
        setup_seconds=spent["setup"],
        eval_seconds=spent["eval"],
        checkpoint_seconds=spent.get("checkpoint", 0.0),
        wall_seconds=place.wall_seconds(),
        # A counter that stood still counts nothing.
        energy_joules=joules if joules and spent["train"] >= LEAST_SECONDS else None,
        train_examples_per_second=trainer.training.examples / spent["train"],
        peak_memory_bytes=peak,
        memory_kind=place.peak.kind,
        weights_bytes=weights,
        optimiser_bytes=optimiser,
        memory_parts=parts,
        curve=tuple(curve),
        guess_loss=guess,
        loss_trace=tuple(trainer.training.trace),
        conditions=conditions_of(task, place.device, trainer.engine),
        resumed=place.saved is not None,
    )
