"""The runs of a study as they go on: a line for the whole, and one for each run under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tuneoff.data.parts import WHOLE, part_words
from tuneoff.report import words

if TYPE_CHECKING:
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run

WIDE, VERY_WIDE = 80, 100
"""Columns from which on a terminal has room for the number of steps, not only their share, and for a bar as well."""
BAR_COLUMNS = 20

State = dict[str, Any]
"""A run's entry in `plan.json` with its `state`, and with its progress or scores, as `Store.states` has it."""


class LiveView:
    """What is known of the runs that a plan has, for rich to draw again and again.

    Args:
        what: "runs" or "trials".
        runs: how many there are.
        done: of which so many were done before.
    """

    def __init__(self, what: str, runs: int, done: int) -> None:
        self._what = what
        self._waiting = runs - done
        self._ended: list[State] = [{"state": "ok"} for _ in range(done)]
        self._going: dict[str, State] = {}

    def progressed(self, run: Run, progress: RunProgress, total: int) -> None:
        """A run has begun, or come so far, of `total` steps."""
        if run.id not in self._going:
            self._waiting -= 1
        self._going[run.id] = {**run.entry(), "state": "running", **progress.entry(total)}

    def ended(self, run: Run, result: dict[str, Any]) -> None:
        """A run has ended with a result."""
        del self._going[run.id]
        seconds = {"wall_seconds": result["wall_seconds"]} if result["status"] == "ok" else {}
        self._ended.append({"state": result["status"], **seconds})

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        going = list(self._going.values())
        states = [*self._ended, *going, *[{"state": "left"}] * self._waiting]
        line = Text(study_line(states, self._what))
        yield Group(line, running_table(going, options.max_width)) if going else line


def study_line(states: list[State], what: str = "runs") -> str:
    """How many runs there are in each state, and the time left by the pace so far, or that hardly any is."""
    kinds = ("ok", "running", "left", "interrupted")
    done, running, left, interrupted = (sum(state["state"] == kind for state in states) for kind in kinds)
    failed = len(states) - done - running - left - interrupted
    line = f"{len(states)} {what}: {done} done, {running} running, {failed} failed, {left + interrupted} left"
    seconds = words.seconds_left([state for state in states if state["state"] != "ok" or "wall_seconds" in state])
    if seconds is None:
        return line
    return f"{line}; about {words.seconds(seconds)} left" if seconds >= 1 else f"{line}; almost done"


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
