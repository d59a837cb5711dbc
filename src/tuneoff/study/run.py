"""Running a study from its spec to its report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuneoff import hub
from tuneoff.errors import UserError
from tuneoff.files import is_disk_trouble
from tuneoff.measure.environment import environment
from tuneoff.study.ahead import Ahead, ahead_of
from tuneoff.study.drive import Driver
from tuneoff.study.executors import EXECUTORS, Executor
from tuneoff.study.interruption import Interruption
from tuneoff.study.lock import locked
from tuneoff.study.outline import check_arms
from tuneoff.study.pins import Pinned, pin_to_commits
from tuneoff.study.plan import Run, RunTask, plan_runs
from tuneoff.study.prepare import PreparedStudy, prepare_study
from tuneoff.study.search_optuna import check_installed
from tuneoff.study.store import Store, set_aside
from tuneoff.study.tuning import Tuning
from tuneoff.tracking import Trackers

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.spec import StudySpec
    from tuneoff.study.executors import Executor
    from tuneoff.study.progress import RunProgress

DEFAULT_OUT = Path("studies-out")


class Listener(Protocol):
    """Is told how a study goes on."""

    def say(self, message: str) -> None:
        """Something a reader of the log should know, in one line."""

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        """So many of what is called a "run" or a "trial" are planned, of which `done` are stored.

        The rest of them is `steps` optimiser steps, and `ahead` is what will be planned after them.
        """

    def run_started(self, run: Run) -> None:
        """A run begins."""

    def progressed(self, run: Run, progress: RunProgress) -> None:
        """A run has come so far, of `run.steps`; it may fall back where it starts again."""

    def run_finished(self, run: Run, result: dict[str, Any]) -> None:
        """A run has ended and its result is stored."""


class Silent:
    """A listener that keeps quiet."""

    def say(self, message: str) -> None: ...

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None: ...

    def run_started(self, run: Run) -> None: ...

    def progressed(self, run: Run, progress: RunProgress) -> None: ...

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
    check_installed(spec)
    with interruption.caught(), locked(folder), _disk_trouble_explained(), hub.telling(listener.say):
        pinned = pin_to_commits(spec, folder, listener.say)
        spec = pinned.spec
        trackers = Trackers(spec, folder, listener.say)
        store.remove_leftovers()
        prepared = prepare_study(spec, folder, listener.say, executor_class.warm_up)
        tuning = Tuning(spec, prepared, store)
        with _Conductor(spec, prepared, store, listener, interruption, retry_failed, trackers, pinned) as conductor:
            while conductor.execute(trials := tuning.runs(), trials):
                pass  # what was found may call for further trials
            runs = plan_runs(spec, prepared, tuning.tuned)
            if not conductor.execute(runs, [*trials, *runs]):
                prepared.save()
                store.write_study(spec, [*trials, *runs], environment())
                listener.planned(len(runs), len(runs), 0, "run", Ahead())
        results = _report(folder)
        trackers.study_ended(results)
        return results


@contextmanager
def _disk_trouble_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_disk_trouble(error) or error.errno is None:
            raise
        reason = f"{error.filename}: {os.strerror(error.errno)}" if error.filename else str(error)
        raise UserError(f"{reason}; finished runs are kept, and the same command goes on from here") from error


class _Conductor:
    """Carries out sets of runs one after another, by one executor that is there once something is left to do."""

    def __init__(
        self,
        spec: StudySpec,
        prepared: PreparedStudy,
        store: Store,
        listener: Listener,
        interruption: Interruption,
        retry_failed: bool,
        trackers: Trackers,
        pinned: Pinned,
    ) -> None:
        self._spec = spec
        self._prepared = prepared
        self._store = store
        self._listener = listener
        self._interruption = interruption
        self._retry_failed = retry_failed
        self._trackers = trackers
        self._pinned = pinned
        self._tried: set[str] = set()
        self._opened = ExitStack()
        self._executor: Executor | None = None

    def __enter__(self) -> _Conductor:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def execute(self, runs: list[Run], plan: list[Run]) -> bool:
        """Carries out those of `runs` that are left, all of which `plan.json` has; says whether any was."""
        left = [run for run in runs if not self._is_done(run)]
        if not left:
            return False
        if self._executor is None:
            self._executor = self._open()
        self._store.write_study(self._spec, plan, environment())
        self._pinned.save(self._store.folder)
        what = "trial" if runs[0].trial else "run"
        ahead = ahead_of(self._spec, self._prepared.prepared, [run.entry() for run in plan])
        self._listener.planned(len(runs), len(runs) - len(left), sum(run.steps for run in left), what, ahead)
        tasks = [self._task(run, self._executor) for run in left]
        driver = Driver(
            self._executor,
            self._store,
            self._prepared.model_stamp,
            self._listener,
            self._interruption,
            self._trackers,
        )
        driver.execute(tasks)
        self._tried.update(run.id for run in left)
        return True

    def _open(self) -> Executor:
        executor_class = EXECUTORS[self._spec.execution.executor]
        executor_class.warm_up()
        executor = self._opened.enter_context(executor_class(self._spec.execution, self._spec.training))
        prepared = self._prepared.prepared
        check_arms(self._spec, self._prepared.model_folder, len(prepared.label_names), prepared.pad_token_id)
        self._prepared.save()
        return executor

    def _is_done(self, run: Run) -> bool:
        """Whether a run has ended and is not to be tried again; a result that cannot be trusted is set aside."""
        damage = self._store.damage(run.id)
        if damage is not None:
            place = set_aside(self._store.folder, self._store.run_folder(run.id))
            self._listener.say(f"{run.id}: {damage}; it is set aside in {place} and run again")
            return False
        result = self._store.result(run.id)
        if result is None or result["status"] == "interrupted":
            return False
        if result["status"] in ("ok", "diverged") or run.id in self._tried:
            return True
        # A trial whose process died has told nothing of its rate, so that the search would go on without it for good.
        return not self._retry_failed and not (run.trial and result["status"] == "failed")

    def _task(self, run: Run, executor: Executor) -> RunTask:
        on_hub = self._pinned.pins.get("model")
        prepared, model_folder = self._prepared.prepared, self._prepared.model_folder.resolve()
        return RunTask(
            run=run,
            training=self._spec.training,
            execution=executor.execution,
            model_folder=model_folder,
            data_folder=self._prepared.data_folder.resolve(),
            run_folder=self._store.run_folder(run.id).resolve(),
            num_labels=len(prepared.label_names),
            pad_token_id=prepared.pad_token_id,
            keep_model=self._spec.keep_models,
            base_model=on_hub.id if on_hub else str(model_folder),
            base_revision=on_hub.commit if on_hub else None,
            on_cpu=executor.on_cpu,
        )


def _report(folder: Path) -> StudyResults:
    from tuneoff.analysis.results import load_results
    from tuneoff.report.write import write_report

    results = load_results(folder)
    write_report(results)
    return results
