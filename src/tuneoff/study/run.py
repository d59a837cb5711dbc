"""Running a study from its spec to its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tuneoff.measure.environment import environment
from tuneoff.study.execute import RunProcesses
from tuneoff.study.outline import check_arms
from tuneoff.study.plan import Run, RunTask, plan_runs
from tuneoff.study.prepare import PreparedStudy, load_tokens, prepare_study
from tuneoff.study.store import Store
from tuneoff.training.loop import total_steps

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.spec import StudySpec

DEFAULT_OUT = Path("studies-out")


class Listener(Protocol):
    """Is told how a study goes on."""

    def say(self, message: str) -> None:
        """A stage has begun."""

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


def run_study(spec: StudySpec, out: str | Path | None = None, listener: Listener | None = None) -> StudyResults:
    """Carries out a study, or what is left of it, and writes its report.

    Args:
        spec: from `load_study`.
        out: the study's folder; `studies-out/<name>` when left out. Runs that it holds already are not repeated.
        listener: told about progress.

    Returns:
        The results, the same as `load_results(out)` gives. Runs may have failed: see `StudyResults.failed`.

    Raises:
        UserError: (a `ValueError`) where the study cannot be carried out; nothing has been written then.
        KeyboardInterrupt: finished runs are stored, the one under way is lost.
    """
    from tuneoff.analysis.results import load_results
    from tuneoff.report.write import write_report

    listener = listener or Silent()
    folder = Path(out) if out is not None else DEFAULT_OUT / spec.name
    store = Store(folder)
    with store.locked():
        prepared = prepare_study(spec, folder, listener.say)
        runs = plan_runs(spec, prepared)
        left = [run for run in runs if not _is_done(store, run)]
        if left:
            processes = RunProcesses()
            processes.warm_up()
            check_arms(spec, prepared.model_folder, len(prepared.prepared.label_names), prepared.prepared.pad_token_id)
        prepared.save()
        store.write_study(spec, environment(), runs)
        steps = total_steps(prepared.prepared.sizes["train"], spec.training)
        listener.planned(len(runs), len(runs) - len(left), len(left) * steps)
        for run in left:
            _carry_out(run, spec, prepared, store, processes, steps, listener)
        results = load_results(folder)
        write_report(results)
    return results


def _is_done(store: Store, run: Run) -> bool:
    """Whether a run succeeded before; one that failed is tried again."""
    result = store.result(run.id)
    return result is not None and result["status"] == "ok"


def _carry_out(
    run: Run,
    spec: StudySpec,
    prepared: PreparedStudy,
    store: Store,
    processes: RunProcesses,
    steps: int,
    listener: Listener,
) -> None:
    task = RunTask(
        run=run,
        training=spec.training,
        model_folder=prepared.model_folder.resolve(),
        data_folder=prepared.data_folder.resolve(),
        run_folder=store.run_folder(run.id).resolve(),
        num_labels=len(prepared.prepared.label_names),
        pad_token_id=prepared.prepared.pad_token_id,
        keep_model=spec.keep_models,
    )
    listener.run_started(run)
    reported = 0

    def on_step(done: int) -> None:
        nonlocal reported
        listener.step(done - reported)
        reported = done

    outcome = processes.carry_out(task, on_step)
    on_step(steps)
    store.write_result(outcome.result, outcome.logits, load_tokens(prepared.data_folder)["test"].labels)
    listener.run_finished(run, outcome.result)
