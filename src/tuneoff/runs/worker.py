"""What a run's own process does: load, adapt, train, test once, save, report back."""

from __future__ import annotations

import faulthandler
import os
import shutil
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.files import folder_bytes, is_disk_trouble
from tuneoff.core.quantities import parse_bytes
from tuneoff.data.prepared import load_tokens
from tuneoff.data.tokens import Tokens
from tuneoff.measure.clock import Stopwatch
from tuneoff.measure.environment import processor, versions
from tuneoff.measure.memory import PeakMemory, PeakSoFar, peak_memory
from tuneoff.models.count import parameter_counts
from tuneoff.models.hide import bitsandbytes_hidden
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.save import save_trained
from tuneoff.runs.files import CHECKPOINT
from tuneoff.runs.reporter import Reporter
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.tasks.single_label import accuracy, macro_f1
from tuneoff.training.checkpoint import Checkpoints
from tuneoff.training.cpu import settle_on_cpu
from tuneoff.training.device import choose_device, choose_precision
from tuneoff.training.engines.choose import make_engine
from tuneoff.training.latency import inference_latency
from tuneoff.training.loop import Training, TrainingDiverged, TrainingStopped
from tuneoff.training.optim.adamw import learning_rates
from tuneoff.training.order import run_batches
from tuneoff.training.parallel.devices import make_parallel
from tuneoff.training.parallel.ranks import Ranks
from tuneoff.training.signs import guess_loss

if TYPE_CHECKING:
    from torch import nn

    from tuneoff.training.engines.base import Engine
    from tuneoff.training.fit import FeatureFit

__all__ = ["run_in_process"]

NO_MAIN_MEMORY = "can't allocate memory"
"""PyTorch's words for it, in a RuntimeError."""


def run_in_process(task: RunTask, connection: Connection) -> None:
    """The entry point of a run's process: carries out `task` and sends progress and one `Outcome`.

    Everything printed goes to the task's log. A failure of any kind becomes an outcome with a status and the error's
    last line; its traceback is in the log. On several devices each process does this; all but the first write no
    other file, and their outcome says no more than `ok`, or why not. Anything that arrives over `connection` asks it
    to stop after the step; if the connection ends, so does the process.
    """
    stopping = threading.Event()
    threading.Thread(target=_obey, args=(connection, stopping), daemon=True).start()
    connection.send(_guarded(task, connection, stopping))


def _obey(connection: Connection, stopping: threading.Event) -> None:
    try:
        connection.recv()
        stopping.set()
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)  # nobody is left to report to


def _print_to_log(task: RunTask) -> None:
    log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(log, stream)
    faulthandler.enable(all_threads=False)


def _guarded(task: RunTask, connection: Connection, stopping: threading.Event) -> Outcome:
    device = torch.device("cpu")
    stops_study = False
    try:
        _print_to_log(task)
        device = choose_device(task.training)
        _limit_memory(task, device)
        return _carry_out(task, device, connection, stopping)
    except TrainingStopped:
        goes_on = "starts anew" if task.run.arm.fitted else "goes on from its checkpoint"
        status, message = "interrupted", f"stopped on request; it {goes_on}"
    except torch.OutOfMemoryError as error:
        status, message = "oom", str(error).splitlines()[0]
    except UserError as error:
        status, message = "failed", str(error)
    except Exception as error:
        stops_study = is_disk_trouble(error)
        if not stops_study:  # the log may be what cannot be written
            traceback.print_exc()
        status, message = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, MemoryError) or NO_MAIN_MEMORY in str(error):
            status, message = "oom", "main memory is exhausted"
    peak = peak_memory(device)
    return Outcome(
        {
            **task.identity(),
            **_memory(peak, peak.peak_bytes(), None, peak.reserved_bytes()),
            "status": status,
            "error": message,
        },
        stops_study=stops_study,
        failed_at=time.monotonic(),
    )


def _limit_memory(task: RunTask, device: torch.device) -> None:
    """On CUDA PyTorch's allocator keeps the limit; on a CPU the process is watched from outside."""
    if task.execution.max_memory is not None and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, parse_bytes(task.execution.max_memory) / total), 0)


def _carry_out(task: RunTask, device: torch.device, connection: Connection, stopping: threading.Event) -> Outcome:
    started = time.perf_counter()
    arm, seed = task.run.arm, task.run.seed
    if device.type == "cpu":
        settle_on_cpu(task.cores)
    precision = choose_precision(task.training, device)
    ranks = Ranks.meet(task.process, device)
    parallel = make_parallel(task.training, ranks, precision)
    checkpoints = Checkpoints(task.run_folder / CHECKPOINT, task.run.id, task.execution.checkpoint_every, parallel)
    micro_batch = task.micro_batch or task.training.batch_size
    saved = checkpoints.load(micro_batch)
    # An earlier process's set-up was done in vain, so it is not counted.
    spent = {name: value for name, value in saved["seconds"].items() if name != "setup"} if saved else {}
    watch = Stopwatch(device, spent)
    peak = peak_memory(device)
    train_peak = PeakSoFar(peak, saved and saved["peak_memory_bytes"])
    tokens = load_tokens(task.data_folder, task.run.part, ("train", "validation"))

    with watch.timing("setup"):
        config = load_config(task.model_folder, task.num_labels, task.pad_token_id)
        quantised_dtype = precision if arm.quantised else None
        loaded = load_classifier(task.model_folder, config, seed, parallel.loading_device(device), quantised_dtype)
        torch.manual_seed(seed)
        with nullcontext() if arm.quantised else bitsandbytes_hidden():
            model = arm.adapt(loaded)
        counts = parameter_counts(model, loaded)
        steps = task.run.steps
        engine: Engine
        training: Training | FeatureFit
        if arm.fitted:
            from tuneoff.models.mean_pooled import MeanPooledClassifier
            from tuneoff.training.fit import FeatureEngine, FeatureFit

            assert isinstance(model, MeanPooledClassifier)
            engine = FeatureEngine(model, loaded, task.training, device, parallel)
            peak.reset()
            training = FeatureFit(arm, engine, tokens, watch, steps)
            examples = len(training.rows)
        else:
            micro_batch = saved["micro_batch"] if saved else micro_batch
            engine = make_engine(model, loaded, task.training, device, precision, micro_batch, parallel, arm)
            batches = run_batches(tokens["train"].lengths, task.training, seed, steps, engine.bucketed)
            peak.reset()
            engine.prepare(tokens["train"], [rows for epoch in batches for rows in epoch])
            rates = learning_rates(arm.rate, steps, task.training.warmup_ratio)
            training = Training(engine, tokens, batches, rates, watch, train_peak, checkpoints)
            examples = sum(len(rows) for epoch in batches for rows in epoch)
            if saved is not None:
                training.resume(saved)
                if device.type == "cpu":
                    peak.reset()  # what reading the checkpoint took is gone again
    went_on = f", goes on after step {saved['done']}" if saved else ""
    print(f"{task.run.id}: {device}, {precision}, {engine.describe()}, parameters {counts}{went_on}", flush=True)

    reporter = Reporter(connection, steps, examples, lambda: training.current_loss, train_peak)
    losses = {"guess_loss": guess_loss(tokens["train"].labels), "loss_trace": training.trace}
    try:
        curve = training.run(reporter.step, stopping.is_set)
    except TrainingDiverged as diverged:
        most = train_peak.so_far()
        print(diverged, flush=True)
        advice = "" if task.run.trial else "; a smaller learning rate may help"
        return Outcome(
            {
                **task.identity(),
                **_memory(peak, most["train"], None, most["reserved"]),
                **losses,
                "status": "diverged",
                "error": f"{diverged}{advice}",
            },
            failed_at=time.monotonic(),
        )
    most = train_peak.so_far()
    for entry in curve:
        print(entry, flush=True)

    test = None if task.run.trial else load_tokens(task.data_folder, task.run.part, ("test",))["test"]
    peak.reset()
    logits = None
    if test is not None:
        with watch.timing("eval"):
            logits = engine.logits(test)
    peaks = ranks.gather((most["train"], peak.peak_bytes(), most["reserved"]))
    weights = parallel.whole_weights(model)
    ranks.part()
    if not ranks.first:
        return Outcome({**task.identity(), "status": "ok"})

    most_in_training, most_in_evaluation, most_reserved = map(max, zip(*peaks, strict=True))
    tested: dict[str, Any] = {}
    if test is not None and logits is not None:
        tested = {
            **_scores(logits, test),
            "inference_latency_seconds": inference_latency(engine, test),
            "checkpoint_bytes": _save(model, task, weights),
        }
    seconds = watch.so_far()
    return Outcome(
        {
            **task.identity(),
            "status": "ok",
            **tested,
            "validation_accuracy": curve[-1]["validation_accuracy"],
            "parameters": counts,
            "train_seconds": seconds["train"],
            "setup_seconds": seconds["setup"],
            "eval_seconds": seconds["eval"],
            "checkpoint_seconds": seconds.get("checkpoint", 0.0),
            "wall_seconds": time.perf_counter() - started + sum(spent.values()),
            "train_examples_per_second": examples / seconds["train"],
            **_memory(peak, most_in_training, most_in_evaluation, most_reserved),
            "steps": curve[-1]["step"],
            "curve": curve,
            **losses,
            "engine": engine.describe(),
            "precision": str(precision).removeprefix("torch."),
            "versions": versions(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
            "devices": ranks.count,
            "shared_device": task.shared_device,
            "resumed": saved is not None,
        },
        logits,
    )


def _save(model: nn.Module, task: RunTask, weights: dict[str, torch.Tensor] | None) -> int:
    """Saves what was trained, and says how many bytes that takes; it is kept if the study says so."""
    artefact = save_trained(model, task.run_folder, task.model_folder, task.base_model, task.base_revision, weights)
    size = folder_bytes(artefact)
    if not task.keep_model:
        shutil.rmtree(artefact)
    return size


def _scores(logits: NDArray[np.float32], test: Tokens) -> dict[str, float]:
    predictions = logits.argmax(axis=1)
    return {
        "test_accuracy": accuracy(predictions, test.labels),
        "test_macro_f1": macro_f1(predictions, test.labels),
    }


def _memory(peak: PeakMemory, train: int, evaluation: int | None, reserved: int) -> dict[str, Any]:
    return {
        "peak_memory_bytes": {"train": train, "eval": evaluation, "reserved": reserved},
        "memory_kind": peak.kind,
    }
