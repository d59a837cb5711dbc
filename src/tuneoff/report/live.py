"""The runs of a study as they go on: a line for the whole, and one for each run under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuneoff.core.texts import counted
from tuneoff.data.parts import WHOLE, part_words
from tuneoff.records.state import RunState
from tuneoff.report import words
from tuneoff.study.ahead import Ahead

if TYPE_CHECKING:
    from tuneoff.records.run import RunResult
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run

WIDE, VERY_WIDE = 80, 100
"""Columns from which on a terminal has room for the number of steps, not only their share, and for a bar as well."""
BAR_COLUMNS = 20

State = dict[str, Any]
"""A run's entry in `plan.json` with its `state`, and with its progress or scores, as `RunState.as_json` has it."""


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
        trial = what == "trial"
        self._ahead = ahead
        self._waiting = runs - done
        self._ended: list[State] = [{"state": "ok", "trial": trial} for _ in range(done)]
        self._going: dict[str, State] = {}
        self._one_left: State = {"state": "left", "trial": trial, "steps": steps / max(1, runs - done)}

    def progressed(self, run: Run, progress: RunProgress) -> None:
        """A run has begun, or come so far."""
        if run.id not in self._going:
            self._waiting -= 1
        self._going[run.id] = RunState(run.entry(), progress.entry(run.steps)).as_json()

    def ended(self, run: Run, result: RunResult) -> None:
        """A run has ended with a result."""
        del self._going[run.id]
        self._ended.append(RunState(run.entry(), result=result).as_json())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        going = list(self._going.values())
        states = [*self._ended, *going, *[self._one_left] * self._waiting]
        line = Text(study_line(states, self._ahead))
        yield Group(line, running_table(going, options.max_width)) if going else line


def study_line(states: list[State], ahead: Ahead) -> str:
    """How many trials and runs there are in each state, and the time left by the pace so far, or that hardly any is.

    A trial that diverged is done: that a rate is too high is what it was to find out.

    Args:
        states: of what is planned.
        ahead: what will be planned after it; then the time left is the least that it can be.
    """
    trials = sum(bool(state.get("trial")) for state in states)
    diverged = sum(state["state"] == "diverged" and bool(state.get("trial")) for state in states)
    kinds = ("ok", "running", "left", "interrupted")
    well, running, left, interrupted = (sum(state["state"] == kind for state in states) for kind in kinds)
    done = well + diverged
    failed = len(states) - done - running - left - interrupted
    what = " and ".join(
        counted(count, one) for count, one in ((trials, "trial"), (len(states) - trials, "run")) if count
    )
    given_up = f" ({counted(diverged, 'trial')} diverged)" if diverged else ""
    line = f"{what}: {done} done{given_up}, {running} running, {failed} failed, {left + interrupted} left"
    line += what_follows(ahead)
    seconds = words.seconds_left(states, ahead)
    if seconds is None:
        return line
    about = "at least" if ahead.runs else "about"
    return f"{line}; {about} {words.seconds(seconds)} left" if seconds >= 1 else f"{line}; almost done"


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


def running_table(states: list[State], width: int) -> Table:
    """The runs under way with their steps, current loss, examples/s, peak memory so far, and time left.

    Args:
        states: of these runs alone.
        width: of the terminal; a narrow one gets shorter columns.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("run")
    if width >= VERY_WIDE:
        table.add_column("", width=BAR_COLUMNS)
    for heading in ("steps" if width >= WIDE else "done", "loss", "examples/s", "memory", "left"):
        table.add_column(heading, justify="right", no_wrap=True)
    for state in states:
        step, steps, pace = state["step"], state["steps"], state["seconds_per_step"]
        table.add_row(
            Text(run_name(state), no_wrap=True, overflow="ellipsis"),  # where there is little room, this is cut
            *([ProgressBar(total=steps, completed=step, width=BAR_COLUMNS)] if width >= VERY_WIDE else []),
            f"{step:,}/{steps:,}" if width >= WIDE else f"{100 * step // steps}%",
            _shown(state["loss"], "{:.3f}".format),
            _shown(state["examples_per_second"], lambda rate: f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"),
            _shown(state["memory_bytes"], words.megabytes),
            _shown(pace and pace * (steps - step), _clock),
        )
    return table


def run_name(entry: dict[str, Any]) -> str:
    """What people call a run: the arm, the learning rate of a trial, the seed, and the part where there are several.

    Args:
        entry: what `plan.json` says of it.
    """
    trial = [f"trial of {entry['learning_rate']:g}"] if entry.get("trial") else []
    part = [part_words(entry["part"])] if entry.get("part", WHOLE) != WHOLE else []
    return ", ".join([entry["arm"], *trial, f"seed {entry['seed']}", *part])


def _shown(value: Any, how: Callable[[Any], str]) -> str:
    return "" if value is None else how(value)


def _clock(seconds: float) -> str:
    """Seconds as `0:45`, `12:05` or `2:00:00`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
