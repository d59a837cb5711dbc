"""The runs of a study as they go on: a line for the whole, and one for each run under way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuneoff.core.texts import counted
from tuneoff.data.parts import WHOLE, part_words
from tuneoff.records.state import RunState
from tuneoff.report import words
from tuneoff.report.tally import Tally
from tuneoff.study.ahead import Ahead

if TYPE_CHECKING:
    from tuneoff.records.plan import PlanEntry
    from tuneoff.records.run import RunIdentity, RunResult
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run

WIDE, VERY_WIDE = 80, 100
"""Columns from which on a terminal has room for the number of steps, not only their share, and for a bar as well."""
BAR_COLUMNS = 20


class LiveView:
    """What is known of the runs that a plan has, for rich to draw again and again.

    Args:
        what: they are called: a "run" or a "trial".
        runs: how many there are.
        done: of which so many were done before.
        steps: of those that were not.
        ahead: what follows them.
    """

    def __init__(self, what: str, runs: int, done: int, steps: int, ahead: Ahead) -> None:
        self._ahead = ahead
        self._are_trials = what == "trial"
        self._done_before = done
        self._waiting = runs - done
        self._steps_of_each = steps / max(1, runs - done)
        self._ended: list[RunState] = []
        self._running: dict[str, RunState] = {}

    def progressed(self, run: Run, progress: RunProgress) -> None:
        """A run has begun, or come so far."""
        if run.id not in self._running:
            self._waiting -= 1
        self._running[run.id] = RunState(run.entry(), progress.entry(run.steps))

    def ended(self, run: Run, result: RunResult) -> None:
        """A run has ended with a result."""
        del self._running[run.id]
        self._ended.append(RunState(run.entry(), result=result))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Text(study_line(self._tally(), self._ahead))
        running = self._running.values()
        yield Group(line, running_table(running, options.max_width)) if running else line

    def _tally(self) -> Tally:
        """Of all runs, of which those that were done before, or have not begun, are known by their number alone."""
        seen = Tally.of([*self._ended, *self._running.values()])
        others = self._done_before + self._waiting
        return replace(
            seen,
            runs=seen.runs + others,
            trials=seen.trials + (others if self._are_trials else 0),
            ok=seen.ok + self._done_before,
            left=seen.left + self._waiting,
            steps_left=seen.steps_left + self._waiting * self._steps_of_each,
        )


def study_line(tally: Tally, ahead: Ahead) -> str:
    """How many trials and runs there are in each state, and the time left by the pace so far, or that hardly any is.

    A trial that diverged is done: that a rate is too high is what it was to find out.

    Args:
        tally: of what is planned.
        ahead: what will be planned after it; then the time left is the least that it can be.
    """
    what = " and ".join(
        counted(count, one) for count, one in ((tally.trials, "trial"), (tally.runs - tally.trials, "run")) if count
    )
    diverged = f" ({counted(tally.diverged_trials, 'trial')} diverged)" if tally.diverged_trials else ""
    line = (
        f"{what}: {tally.ok + tally.diverged_trials} done{diverged}, {len(tally.running)} running, "
        f"{tally.failed} failed, {tally.left} left{what_follows(ahead)}"
    )
    seconds = tally.seconds_left(ahead)
    if seconds is None:
        return line
    about = "at least" if ahead.runs else "about"
    return f"{line}; {about} {words.duration(seconds)} left" if seconds >= 1 else f"{line}; almost done"


def what_follows(ahead: Ahead) -> str:
    """What comes after what is planned, as the end of a sentence; nothing where nothing does."""
    if not ahead.runs:
        return ""
    runs = counted(ahead.runs, "run")
    if ahead.trials:
        more = f"{ahead.trials:,} or more trials" if ahead.may_grow else counted(ahead.trials, "further trial")
        return f", then {more} and {runs}"
    return (
        f", then {runs}, with more trials before {'it' if ahead.runs == 1 else 'them'} if need be"
        if ahead.may_grow
        else f", then {runs}"
    )


def running_table(states: Iterable[RunState], width: int) -> Table:
    """The runs under way with their steps, current loss, examples/s, peak memory so far, and time left.

    Args:
        states: of runs, of which those under way are shown.
        width: of the terminal; a narrow one gets shorter columns.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("run")
    if width >= VERY_WIDE:
        table.add_column("", width=BAR_COLUMNS)
    for heading in ("steps" if width >= WIDE else "done", "loss", "examples/s", "memory", "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for state in states:
        progress = state.progress
        if progress is None:
            continue
        step, steps = progress.step, progress.steps
        loss, rate, memory = progress.loss, progress.examples_per_second, progress.memory_bytes
        pace = progress.seconds_per_step
        table.add_row(
            Text(run_name(state.entry), no_wrap=True, overflow="ellipsis"),  # where there is little room, this is cut
            *([ProgressBar(total=steps, completed=step, width=BAR_COLUMNS)] if width >= VERY_WIDE else []),
            f"{step:,}/{steps:,}" if width >= WIDE else f"{100 * step // steps}%",
            "" if loss is None else f"{loss:.3f}",
            "" if rate is None else f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}",
            "" if memory is None else words.megabytes(memory),
            "" if pace is None else _clock(pace * (steps - step)),
        )
    return table


def run_name(run: PlanEntry | RunIdentity) -> str:
    """What people call a run: the arm, the learning rate of a trial, the seed, and the part where there are several.

    Args:
        run: its entry in the plan, or its result.
    """
    trial = [f"trial of {run.learning_rate:g}"] if run.trial else []
    part = [part_words(run.part)] if run.part != WHOLE else []
    return ", ".join([run.arm, *trial, f"seed {run.seed}", *part])


def _clock(seconds: float) -> str:
    """Seconds as `0:45`, `12:05` or `2:00:00`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
