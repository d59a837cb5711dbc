"""Carrying out a study: its data prepared, its trials and runs done one set after another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.measure.environment import environment
from tuneoff.spec.schema import EXECUTORS
from tuneoff.study.ahead import Ahead, ahead_of
from tuneoff.study.elsewhere import computed_elsewhere
from tuneoff.study.pins import Pinned
from tuneoff.study.plan import plan_runs
from tuneoff.study.prepare import PreparedStudy, prepare_study
from tuneoff.study.preview import check_arms, check_class_weights
from tuneoff.study.rehearsal import rehearse
from tuneoff.study.run_task import make_task
from tuneoff.study.scheduler import Scheduler
from tuneoff.study.store import Store, set_aside
from tuneoff.study.tuning import Tuning, tuned_arms

if TYPE_CHECKING:
    from tuneoff.runs.run import Run
    from tuneoff.runs.task import RunTask
    from tuneoff.spec import StudySpec
    from tuneoff.study.executors.base import Executor
    from tuneoff.study.interruption import Interruption
    from tuneoff.study.listener import Listener


def carry_out(
    pinned: Pinned, folder: Path, listener: Listener, interruption: Interruption, retry_failed: bool = False
) -> None:
    """Carries out a study, or what is left of it, and stores its results; only under the folder's lock.

    Args:
        pinned: the study.
        folder: of its results. Runs that it holds already are not repeated.
        listener: told about progress, and of each result.
        interruption: says whether to stop.
        retry_failed: whether runs that failed before are tried again.

    Raises:
        UserError: where it cannot be carried out, and nothing has been written.
        KeyboardInterrupt: finished runs are stored, and those under way have a checkpoint.
    """
    spec = pinned.spec
    store = Store(folder)
    store.remove_leftovers()
    prepared = prepare_study(spec, folder, listener.say, EXECUTORS.named(spec.execution.executor).warm_up)
    executor_class = EXECUTORS.named(spec.execution.executor)
    with executor_class(spec.execution, spec.training) as executor:
        conductor = _Conductor(spec, prepared, store, executor, listener, interruption, retry_failed, pinned)
        tuning = Tuning(spec, prepared, store, executor.allocation)
        while conductor.execute(trials := tuning.runs(), trials):
            pass  # what was found may call for further trials
        runs = plan_runs(spec, prepared, executor.allocation, tuning.tuned)
        if not conductor.execute(runs, [*trials, *runs]):
            prepared.save()
            store.write_study(spec, [*trials, *runs], environment())
            listener.planned(len(runs), len(runs), 0, "run", Ahead())


class _Conductor:
    """Carries out sets of runs one after another; what a study needs for it is made sure of once something is left."""

    def __init__(
        self,
        spec: StudySpec,
        prepared: PreparedStudy,
        store: Store,
        executor: Executor,
        listener: Listener,
        interruption: Interruption,
        retry_failed: bool,
        pinned: Pinned,
    ) -> None:
        self._spec = spec
        self._prepared = prepared
        self._store = store
        self._executor = executor
        self._listener = listener
        self._interruption = interruption
        self._retry_failed = retry_failed
        self._pinned = pinned
        self._tried: set[str] = set()
        self._begun = False
        self._beside: dict[str, int] = {}

    def execute(self, runs: list[Run], plan: list[Run]) -> bool:
        """Carries out those of `runs` that are left, all of which `plan.json` has; says whether any was."""
        left = [run for run in runs if not self._is_done(run)]
        if not left:
            return False
        if not self._begun:
            self._begin()
        self._store.write_study(self._spec, plan, environment())
        self._pinned.save(self._store.folder)
        what = "trial" if runs[0].trial else "run"
        ahead = ahead_of(self._spec, self._prepared.prepared, [run.entry() for run in plan])
        self._listener.planned(len(runs), len(runs) - len(left), sum(run.steps for run in left), what, ahead)
        tasks = [self._task(run) for run in left]
        scheduler = Scheduler(
            self._executor,
            self._store,
            self._prepared.model_stamp,
            self._listener,
            self._interruption,
        )
        scheduler.execute(tasks)
        self._tried.update(run.id for run in left)
        return True

    def _task(self, run: Run) -> RunTask:
        task = make_task(
            run,
            self._pinned,
            self._prepared.prepared,
            self._executor.allocation,
            self._prepared.model_folder,
            self._prepared.data_folder,
            self._store.run_folder(run.id),
        )
        size = self._beside.get(run.arm.name)
        measured = not run.trial and run.seed == self._spec.seeds[0]
        return task if size is None or measured else task.beside_others(size)

    def _begin(self) -> None:
        """Makes sure that every arm can be trained on this data, says what is trained anew, and brings the data in."""
        self._begun = True
        self._executor.warm_up()
        prepared = self._prepared.prepared
        check_class_weights(self._spec, prepared.label_names)
        check_arms(self._spec, self._prepared.model_folder, len(prepared.label_names), prepared.pad_token_id)
        rehearse(self._spec, self._prepared, self._listener.say)
        elsewhere = computed_elsewhere(self._spec, self._prepared, self._store, self._executor.allocation)
        if elsewhere is not None:
            self._listener.say(elsewhere)
        self._prepared.save()
        room, allocation = self._executor.shareable_bytes, self._executor.allocation
        if room is not None or (allocation.device == "cuda" and allocation.devices == 1):
            from tuneoff.study.foretold import beside_others, foretell, too_large  # which import transformers

            foretold = foretell(self._spec, self._prepared, allocation.precision)
            for line in too_large(foretold, self._spec, room):
                self._listener.say(line)
            if room is not None:
                self._beside = beside_others(foretold, self._spec, self._prepared, room)
        if self._beside and (len(self._spec.seeds) > 1 or tuned_arms(self._spec)):
            self._listener.say(
                "Runs share a GPU as far as its memory goes; costs are measured with one seed of each arm, which has "
                "it alone (execution.workers = 1: all runs have)"
            )

    def _is_done(self, run: Run) -> bool:
        """Whether a run has ended and is not to be tried again; a result that cannot be trusted is set aside."""
        result, damage = self._store.examine(run.id)
        if damage is not None:
            place = set_aside(self._store.folder, self._store.run_folder(run.id))
            self._listener.say(f"{run.id}: {damage}; it is set aside in {place} and run again")
            return False
        if result is None or result.status == "interrupted":
            return False
        if result.status in ("ok", "diverged") or run.id in self._tried:
            return True
        # A trial whose process died has told nothing of its rate, so that the search would go on without it for good.
        return not self._retry_failed and not (run.trial and result.status == "failed")
