"""Running a study from its spec to its report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuneoff.errors import UserError
from tuneoff.files import is_disk_trouble
from tuneoff.measure.environment import environment
from tuneoff.study.drive import Driver
from tuneoff.study.executors import EXECUTORS, Executor
from tuneoff.study.interruption import Interruption
from tuneoff.study.lock import locked
from tuneoff.study.outline import check_arms
from tuneoff.study.plan import Run, RunTask, plan_runs
from tuneoff.study.prepare import PreparedStudy, prepare_study
from tuneoff.study.store import Store, set_aside
from tuneoff.training.loop import total_steps

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.spec import StudySpec
    from tuneoff.study.executors import Executor

DEFAULT_OUT = Path("studies-out")


class Listener(Protocol):
    """Is told how a study goes on."""

    def say(self, message: str) -> None:
        """Something a reader of the log should know, in one line."""

    def planned(self, runs: int, done: int, steps: int) -> None:
        """The study has `runs` runs, of which `done` are stored already; the rest is `steps` optimiser steps."""

    def run_started(self, run: Run) -> None:
        """A run begins."""

    def step(self, steps: int) -> None:
        """So many further optimiser steps are done."""

    def run_finished(self, run: Run, result: dict[str, Any]) -> None:
        """A run has ended and its result is stored."""


class Silent:
    """A listener that keeps quiet."""

    def say(self, message: str) -> None: ...

    def planned(self, runs: int, done: int, steps: int) -> None: ...

    def run_started(self, run: Run) -> None: ...

    def step(self, steps: int) -> None: ...

    def run_finished(self, run: Run, result: dict[str, Any]) -> None: ...


def run_study(
    spec: StudySpec, out: str | Path | None = None, listener: Listener | None = None, retry_failed: bool = False
) -> StudyResults:
    """Carries out a study, or what is left of it, and writes its report.

    Args:
        spec: from `load_study`.
        out: the study's folder; `studies-out/<name>` when left out. Runs that it holds already are not repeated.
        listener: told about progress.
        retry_failed: whether runs that failed before are tried again.

    Returns:
        The results, the same as `load_results(out)` gives. Runs may have failed: see `StudyResults.failed`.

    Raises:
        UserError: (a `ValueError`) where the study cannot be carried out, and nothing has been written; or where the
            disk is full or cannot be written any more, and finished runs are stored.
        KeyboardInterrupt: finished runs are stored, and those under way have a checkpoint to go on from, unless it
            was asked for twice.
    """
    listener = listener or Silent()
    folder = Path(out) if out is not None else DEFAULT_OUT / spec.name
    store = Store(folder)
    executor_class = EXECUTORS[spec.execution.executor]
    interruption = Interruption()
    with interruption.caught(), locked(folder), _disk_trouble_explained():
        store.remove_leftovers()
        prepared = prepare_study(spec, folder, listener.say, executor_class.warm_up)
        runs = plan_runs(spec, prepared)
        left = [run for run in runs if not _is_done(store, run, retry_failed, listener)]
        if left:
            executor_class.warm_up()
            _carry_out(spec, prepared, store, runs, left, executor_class, listener, interruption)
        else:
            prepared.save()
            store.write_study(spec, runs, environment())
            listener.planned(len(runs), len(runs), 0)
        return _report(folder)


@contextmanager
def _disk_trouble_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_disk_trouble(error) or error.errno is None:
            raise
        reason = f"{error.filename}: {os.strerror(error.errno)}" if error.filename else str(error)
        raise UserError(f"{reason}; finished runs are kept, and the same command goes on from here") from error


def _is_done(store: Store, run: Run, retry_failed: bool, listener: Listener) -> bool:
    """Whether a run has ended and is not to be tried again; a result that cannot be trusted is set aside."""
    damage = store.damage(run.id)
    if damage is not None:
        place = set_aside(store.folder, store.run_folder(run.id))
        listener.say(f"{run.id}: {damage}; it is set aside in {place} and run again")
        return False
    result = store.result(run.id)
    if result is None or result["status"] == "interrupted":
        return False
    return result["status"] == "ok" or not retry_failed


def _carry_out(
    spec: StudySpec,
    prepared: PreparedStudy,
    store: Store,
    runs: list[Run],
    left: list[Run],
    executor_class: type[Executor],
    listener: Listener,
    interruption: Interruption,
) -> None:
    with executor_class(spec.execution, spec.training) as executor:
        check_arms(spec, prepared.model_folder, len(prepared.prepared.label_names), prepared.prepared.pad_token_id)
        prepared.save()
        store.write_study(spec, runs, environment())
        steps = total_steps(prepared.prepared.sizes["train"], spec.training)
        listener.planned(len(runs), len(runs) - len(left), len(left) * steps)
        tasks = [_task(run, spec, executor, prepared, store) for run in left]
        Driver(executor, store, prepared.data_folder, steps, listener, interruption).carry_out(tasks)


def _task(run: Run, spec: StudySpec, executor: Executor, prepared: PreparedStudy, store: Store) -> RunTask:
    return RunTask(
        run=run,
        training=spec.training,
        execution=executor.execution,
        model_folder=prepared.model_folder.resolve(),
        data_folder=prepared.data_folder.resolve(),
        run_folder=store.run_folder(run.id).resolve(),
        num_labels=len(prepared.prepared.label_names),
        pad_token_id=prepared.prepared.pad_token_id,
        keep_model=spec.keep_models,
        base_model=str(prepared.model_folder.resolve()),
        on_cpu=executor.on_cpu,
    )


def _report(folder: Path) -> StudyResults:
    from tuneoff.analysis.results import load_results
    from tuneoff.report.write import write_report

    results = load_results(folder)
    write_report(results)
    return results
