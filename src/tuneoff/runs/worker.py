"""What a run's own process is: it listens to its driver, keeps a log, and reports an outcome whatever happens."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection

import torch

from tuneoff.core.errors import UserError
from tuneoff.core.files import is_disk_trouble
from tuneoff.core.quantities import parse_bytes
from tuneoff.measure.memory import is_out_of_memory, peak_memory
from tuneoff.records.measurements import PeakBytes
from tuneoff.records.run import UnfinishedStatus
from tuneoff.runs.execute import carry_out, conditions_of
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.training.device import choose_device
from tuneoff.training.loop import TrainingStopped


def run_in_process(task: RunTask, connection: Connection) -> None:
    """The entry point of a run's process: carries out `task` and sends progress and one `Outcome`.

    Everything printed goes to the task's log. A failure of any kind becomes an outcome with a status and the error's
    last line; its traceback is in the log. On several devices each process does this; all but the first write no
    other file, and their outcome says no more than `ok`, or why not. Anything that arrives over `connection` asks it
    to stop after the step; if the connection ends, so does the process.
    """
    stopping = threading.Event()
    threading.Thread(target=_listen_for_stop, args=(connection, stopping), daemon=True).start()
    connection.send(_guarded(task, connection, stopping))


def _listen_for_stop(connection: Connection, stopping: threading.Event) -> None:
    """In a thread: what arrives first asks the run to stop, and the end of the connection ends the process."""
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
    """Carries out `task`; what goes wrong becomes an outcome."""
    known: torch.device | None = None
    stops_study = False
    status: UnfinishedStatus
    try:
        _print_to_log(task)
        known = device = choose_device(task.training)
        _limit_memory(task, device)
        return carry_out(task, device, connection, stopping)
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
        if task.allocation.precision == "bf16" and "bfloat16" in message.lower():
            message = f'{message}; the model may not compute in bfloat16: set training.precision = "fp32"'
        if is_out_of_memory(error):
            status, message = "oom", "main memory is exhausted"
    meter = peak_memory(known or torch.device("cpu"))
    peak = PeakBytes(train=meter.peak_bytes(), eval=None, reserved=meter.reserved_bytes())
    return Outcome(
        task.unfinished(status, message, peak, meter.kind, conditions_of(task, known) if known else None),
        stops_study=stops_study,
        failed_at=time.monotonic(),
    )


def _limit_memory(task: RunTask, device: torch.device) -> None:
    """On CUDA PyTorch's allocator keeps the limit; on a CPU the process is watched from outside."""
    if task.execution.max_memory is not None and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, parse_bytes(task.execution.max_memory) / total), 0)
