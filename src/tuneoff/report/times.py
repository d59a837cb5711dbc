"""What `tuneoff plan --probe` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from tuneoff.core.texts import counted
from tuneoff.report.grid import fitting_table
from tuneoff.report.terminal import wide_console
from tuneoff.report.words import duration

if TYPE_CHECKING:
    from tuneoff.records.times import ProbedArm, ProbedStudy

COLUMNS = ("arm", "a step", "before it", "a run", "a trial")


def print_times(probed: ProbedStudy) -> None:
    """How long each arm's runs take, and the study."""
    console = wide_console()
    console.print(fitting_table(COLUMNS, [_row(arm) for arm in probed.arms], console.width, ("arm",)))
    for arm in probed.arms:
        if arm.why_not:
            console.print(escape(f"{arm.arm}: {arm.why_not}"))
    side_by_side = f", {probed.at_once} at once" if probed.at_once > 1 else ""
    trials = f"{counted(probed.trials, 'trial')} and " if probed.trials else ""
    on = f" on {probed.device}" if probed.device else ""
    console.print(escape(f"{trials}{counted(probed.runs, 'run')}{side_by_side}{on}:"))
    if probed.seconds is None:
        console.print("how long they take cannot be said, since not every arm could be tried")
        return
    assert probed.most_seconds is not None
    further = probed.most_seconds > probed.seconds
    most = f", up to {duration(probed.most_seconds)} where each best rate is at the edge" if further else ""
    cost = "" if probed.cost is None else f"; {f'{probed.cost:,.2f} {probed.currency}'.strip()}"
    console.print(escape(f"about {duration(probed.seconds)}{most}{cost}, beside the report"))


def _row(arm: ProbedArm) -> tuple[str, ...]:
    def told(seconds: float | None) -> str:
        return "" if seconds is None else duration(seconds)

    step = "" if arm.step is None else f"{1000 * arm.step:,.0f} ms"
    return arm.arm, step, told(arm.setup), "?" if arm.run is None else told(arm.run), told(arm.trial)
