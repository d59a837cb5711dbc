"""The scheduler: hands runs to an executor, stores what comes back, and decides what follows from it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.data.prepared import load_tokens
from tuneoff.models.fingerprint import Stamp, changed_since
from tuneoff.runs.progress import RunProgress
from tuneoff.runs.task import Outcome, RunTask
from tuneoff.study.store import predictions_of

if TYPE_CHECKING:
    from tuneoff.study.executors.base import Event, Executor
    from tuneoff.study.interruption import Interruption
    from tuneoff.study.listener import Listener
    from tuneoff.study.store import Store

WAIT_SECONDS = 0.5


class Scheduler:
    """Carries out the runs of a study that are left.

    Args:
        executor: where.
        store: where results go; nobody else writes it.
        model: of the model's files as they were when the study was planned.
        listener: told about progress, and of each result once it is stored.
        interruption: says whether to stop.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        model: Stamp,
        listener: Listener,
        interruption: Interruption,
    ) -> None:
        self._executor = executor
        self._store = store
        self._model = model
        self._listener = listener
        self._interruption = interruption
        self._waiting: deque[RunTask] = deque()
        self._running: dict[str, RunTask] = {}
        self._stopping = False

    def execute(self, tasks: Sequence[RunTask]) -> None:
        """Returns when every run has a result, or one has failed and the study is to fail fast.

        Raises:
            KeyboardInterrupt: after a request to stop, once all runs have ended.
            UserError: where a run shows that no run can succeed, such as on a full disk; finished runs are stored.
        """
        self._waiting.extend(tasks)
        with self._interruption.graceful():
            while self._running or (self._waiting and not self._stopping):
                if self._interruption.requested and not self._stopping:
                    self._listener.say("stopping after the step under way; Ctrl-C again stops at once")
                    self._stop()
                while self._waiting and not self._stopping and self._executor.has_room(self._waiting[0]):
                    self._start(self._waiting.popleft())
                for event in self._executor.events(WAIT_SECONDS):
                    self._handle(event)
        if self._interruption.requested:
            raise KeyboardInterrupt

    def _start(self, task: RunTask) -> None:
        self._check_model(task)
        self._running[task.run.id] = task
        self._listener.run_started(task.run)
        self._progress(task, RunProgress(0))
        self._executor.start(task)

    def _check_model(self, task: RunTask) -> None:
        changed = changed_since(task.model_folder, self._model)
        if changed is not None:
            raise UserError(
                f"model.id: {task.model_folder / changed} was changed while the study ran; runs that had ended before "
                "are kept, and the same command runs the study with the model as it is now"
            )

    def _stop(self) -> None:
        self._stopping = True
        self._executor.stop()

    def _handle(self, event: Event) -> None:
        task = self._running[event.run_id]
        if event.note is not None:
            self._listener.say(event.note)
        if event.progress is not None:
            self._progress(task, event.progress)
        if event.outcome is not None:
            del self._running[event.run_id]
            self._end(task, event.outcome)

    def _progress(self, task: RunTask, progress: RunProgress) -> None:
        self._store.write_progress(task.run.id, progress, task.run.steps)
        self._listener.progressed(task.run, progress)

    def _end(self, task: RunTask, outcome: Outcome) -> None:
        result, failure = outcome.result, outcome.failure
        assert result is not None
        micro_batch = task.micro_batch or -(-task.training.batch_size // task.allocation.devices)
        if outcome.stops_study and failure is not None:
            raise UserError(
                f"run {task.run.id} could not write its files: {failure.error}; finished runs are kept, and the same "
                "command goes on from here"
            )
        if failure is not None and failure.status == "oom" and task.gpu_bytes is not None and not self._stopping:
            self._listener.say(f"{task.run.id}: it ran out of memory beside other runs, and is run again by itself")
            self._waiting.appendleft(task.alone())
            return
        may_halve = task.training.auto_batch and micro_batch > 1 and not self._stopping
        if failure is not None and failure.status == "oom" and may_halve:
            half = micro_batch // 2
            self._listener.say(f"{task.run.id}: {failure.error}; trying again with {half} sequences at once")
            self._waiting.appendleft(replace(task, micro_batch=half))
            return
        self._check_model(task)
        predictions = None
        if outcome.logits is not None:
            codes = load_tokens(task.data_folder, task.texts.long_texts, task.run.part, ("test",))["test"].labels
            predictions = predictions_of(task.decided(result), codes, outcome.logits)
        self._store.write_result(result, predictions)
        self._listener.run_finished(task.run, result)
        failed = result.status not in ("ok", "interrupted") and not task.run.trial
        if task.execution.fail_fast and failed and not self._stopping:
            self._listener.say("stopping, since a run has failed (execution.fail_fast)")
            self._stop()
