"""What a run's own process does: load, adapt, train, test once, save, report back."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.data.tokens import Tokens
from tuneoff.errors import UserError
from tuneoff.files import folder_bytes
from tuneoff.measure.clock import Stopwatch
from tuneoff.measure.environment import processor, versions
from tuneoff.measure.memory import PeakMemory, peak_memory
from tuneoff.models.count import parameter_counts
from tuneoff.models.hide import bitsandbytes_hidden
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.save import save_trained
from tuneoff.quantities import parse_bytes
from tuneoff.study.plan import Outcome, RunTask
from tuneoff.study.prepare import load_tokens
from tuneoff.training.checkpoint import Checkpoints
from tuneoff.training.cpu import settle_on_cpu
from tuneoff.training.device import choose_device, choose_precision
from tuneoff.training.engines import make_engine
from tuneoff.training.loop import Training, TrainingStopped, accuracy
from tuneoff.training.optimiser import learning_rates
from tuneoff.training.order import epoch_batches

__all__ = ["run_in_process"]

REPORT_EVERY_SECONDS = 0.25
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def run_in_process(task: RunTask, connection: Connection) -> None:
    """The entry point of a run's process: carries out `task` and sends progress and one `Outcome`.

    Everything printed goes to `log.txt` in the run's folder. A failure of any kind becomes an outcome with a
    status and the error's last line; its traceback is in the log. Anything that arrives over `connection`, or
    SIGTERM, asks it to stop after the step; if the connection ends, so does the process.
    """
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what an interruption means
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    log = os.open(task.run_folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(log, stream)
    threading.Thread(target=_obey, args=(connection, stopping), daemon=True).start()
    connection.send(_guarded(task, connection, stopping))


def _obey(connection: Connection, stopping: threading.Event) -> None:
    try:
        connection.recv()
        stopping.set()
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)  # nobody is left to report to


def _guarded(task: RunTask, connection: Connection, stopping: threading.Event) -> Outcome:
    device = torch.device("cpu")
    stops_study = False
    try:
        device = choose_device(task.training)
        _limit_memory(task, device)
        return _carry_out(task, device, connection, stopping)
    except TrainingStopped:
        status, message = "interrupted", "stopped on request; it goes on from its checkpoint"
    except torch.OutOfMemoryError as error:
        status, message = "oom", str(error).splitlines()[0]
    except MemoryError:
        status, message = "oom", "main memory is exhausted"
    except UserError as error:
        status, message = "failed", str(error)
    except Exception as error:
        traceback.print_exc()
        stops_study = _is_disk_trouble(error)
        status, message = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
    peak = peak_memory(device)
    return Outcome(
        {
            **task.identity(),
            **_memory(peak, peak.peak_bytes(), None, peak.reserved_bytes()),
            "status": status,
            "error": message,
        },
        stops_study=stops_study,
    )


def _is_disk_trouble(error: BaseException) -> bool:
    """Whether a write failed for a reason that every other run would meet as well."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return True
    return any(os.strerror(number) in str(error) for number in DISK_ERRORS)  # safetensors' errors are texts


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
    checkpoints = Checkpoints(task.run_folder, task.run.id, task.execution.checkpoint_every)
    saved = checkpoints.load()
    watch = Stopwatch(device, saved and saved["seconds"])
    peak = peak_memory(device)
    precision = choose_precision(task.training, device)
    tokens = load_tokens(task.data_folder)

    with watch.timing("setup"):
        config = load_config(task.model_folder, task.num_labels, task.pad_token_id)
        loaded = load_classifier(task.model_folder, config, seed, device, precision if arm.quantised else None)
        torch.manual_seed(seed)
        with nullcontext() if arm.quantised else bitsandbytes_hidden():
            model = arm.adapt(loaded)
        counts = parameter_counts(model, loaded)
        engine = make_engine(model, loaded, task.training, device, precision, task.micro_batch)
        batches = [
            epoch_batches(tokens["train"].lengths, task.training.batch_size, seed, epoch, engine.bucketed)
            for epoch in range(task.training.epochs)
        ]
        peak.reset()
        engine.prepare(tokens["train"], [rows for epoch in batches for rows in epoch])
        steps = sum(map(len, batches))
        rates = learning_rates(arm.learning_rate, steps, task.training.warmup_ratio)
        training = Training(engine, tokens, batches, rates, watch, checkpoints)
        if saved is not None:
            training.resume(saved)
    went_on = f", goes on after step {training.done}" if saved else ""
    print(f"{task.run.id}: {device}, {precision}, {engine.describe()}, parameters {counts}{went_on}", flush=True)

    curve = training.run(_Reporter(connection, steps).step, stopping.is_set)
    train_peak, reserved = peak.peak_bytes(), peak.reserved_bytes()
    for entry in curve:
        print(entry, flush=True)
    if not np.isfinite(curve[-1]["train_loss"]):
        raise UserError(f"the training loss is {curve[-1]['train_loss']}; a smaller learning rate may help")

    peak.reset()
    with watch.timing("eval"):
        logits = engine.logits(tokens["test"])
    eval_peak = peak.peak_bytes()
    artefact = save_trained(model, task.run_folder, task.model_folder)
    checkpoint_bytes = folder_bytes(artefact)
    if not task.keep_model:
        shutil.rmtree(artefact)
    seconds = watch.so_far()
    return Outcome(
        {
            **task.identity(),
            "status": "ok",
            **_scores(logits, tokens["test"]),
            "validation_accuracy": curve[-1]["validation_accuracy"],
            "parameters": counts,
            "train_seconds": seconds["train"],
            "setup_seconds": seconds["setup"],
            "eval_seconds": seconds["eval"],
            "checkpoint_seconds": seconds.get("checkpoint", 0.0),
            "wall_seconds": time.perf_counter() - started + (sum(saved["seconds"].values()) if saved else 0.0),
            "train_examples_per_second": len(tokens["train"]) * task.training.epochs / seconds["train"],
            **_memory(peak, train_peak, eval_peak, reserved),
            "checkpoint_bytes": checkpoint_bytes,
            "steps": curve[-1]["step"],
            "curve": curve,
            "engine": engine.describe(),
            "precision": str(precision).removeprefix("torch."),
            "versions": versions(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
            "shared_device": task.shared_device,
            "resumed": saved is not None,
        },
        logits,
    )


def _scores(logits: NDArray[np.float32], test: Tokens) -> dict[str, float]:
    from sklearn.metrics import f1_score

    predictions = logits.argmax(axis=1)
    return {
        "test_accuracy": accuracy(logits, test.labels),
        "test_macro_f1": float(f1_score(test.labels, predictions, average="macro")),
    }


def _memory(peak: PeakMemory, train: int, evaluation: int | None, reserved: int) -> dict[str, Any]:
    return {
        "peak_memory_bytes": {"train": train, "eval": evaluation, "reserved": reserved},
        "memory_kind": peak.kind,
    }


class _Reporter:
    """Tells the driver how many steps are done, a few times a second at most."""

    def __init__(self, connection: Connection, total: int) -> None:
        self._connection = connection
        self._total = total
        self._last = 0.0

    def step(self, done: int) -> None:
        now = time.monotonic()
        if done == self._total or now - self._last >= REPORT_EVERY_SECONDS:
            self._connection.send(done)
            self._last = now
