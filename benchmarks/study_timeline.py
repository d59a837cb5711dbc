"""Where each second of a study goes, from the command's first import to its report.

    python benchmarks/study_timeline.py benchmarks/imdb-tuned.toml --set data.train=... --set data.test=... --out FOLDER

It runs the study as `tuneoff run` does, and notes when the driver did what and when each run began and ended.
benchmarks/README.md says how to read it.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from tuneoff.records.run import RunResult
    from tuneoff.runs.progress import RunProgress
    from tuneoff.runs.run import Run
    from tuneoff.study.ahead import Ahead

WATCHED = (
    ("tuneoff.study.conductor", "prepare_study"),
    ("tuneoff.study.conductor", "check_arms"),
    ("tuneoff.study.conductor", "rehearse"),
    ("tuneoff.study.conductor", "_Conductor._begin"),
    ("tuneoff.api", "write_report"),
)
"""What the driver does in one piece beside waiting for runs: modules, and the names by which they call it. `_begin` has
the two before it inside, and the forecasts of memory."""
PURPOSES = ("setup", "train", "eval")


@dataclass
class Clock:
    """Seconds since this process began, imports of Python itself included."""

    began: float = field(default_factory=lambda: psutil.Process().create_time())

    def now(self) -> float:
        return time.time() - self.began


@dataclass
class Stage:
    """Something the driver did."""

    name: str
    start: float
    end: float


@dataclass
class OneRun:
    """A run as the driver saw it, and what it says of itself."""

    run: Run
    start: float
    end: float = 0.0
    result: RunResult | None = None
    beside: int = 0
    """Other runs that went on when it began."""

    @property
    def kind(self) -> str:
        if self.run.trial:
            return "trials"
        return "further seeds" if self.shared else "first seeds, alone"

    @property
    def shared(self) -> bool:
        conditions = getattr(self.result, "conditions", None)
        return bool(conditions is not None and conditions.shared_device)


class Timeline:
    """Listens to a study."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.runs: dict[str, OneRun] = {}

    def say(self, message: str) -> None:
        print(f"{self._clock.now():7.2f} s  {message}", flush=True)

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self.say(f"{runs - done} {what}s, {steps} steps")

    def run_started(self, run: Run) -> None:
        under_way = sum(not one.end for one in self.runs.values())
        self.runs[run.id] = OneRun(run, self._clock.now(), beside=under_way)

    def progressed(self, run: Run, progress: RunProgress) -> None: ...

    def run_finished(self, run: Run, result: RunResult) -> None:
        one = self.runs[run.id]
        one.end, one.result = self._clock.now(), result
        self.say(f"{run.id}: {result.status}, {one.end - one.start:.1f} s")


def main() -> None:
    """Runs the study and prints its table."""
    clock = Clock()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True, help="a folder without results of it")
    arguments = parser.parse_args()
    import tuneoff

    spec = tuneoff.load_study(arguments.study, arguments.set)
    stages: list[Stage] = []
    for module, name in WATCHED:
        _watch(module, name, stages, clock)
    stages.insert(0, Stage("imports and the study file", 0.0, clock.now()))
    timeline = Timeline(clock)
    tuneoff.run_study(spec, arguments.out, timeline)
    print("\n" + describe(stages, list(timeline.runs.values()), clock.now()))


def _watch(module: str, name: str, stages: list[Stage], clock: Clock) -> None:
    """Notes each call of a function as a stage; only calls of the main thread, one after another."""
    *owners, last = name.split(".")
    place: Any = functools.reduce(getattr, owners, importlib.import_module(module))
    original: Callable[..., Any] = getattr(place, last)

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        start = clock.now()
        try:
            return original(*arguments, **named)
        finally:
            if threading.current_thread() is threading.main_thread():
                stages.append(Stage(name, start, clock.now()))

    setattr(place, last, call)


def describe(stages: Sequence[Stage], runs: Sequence[OneRun], whole: float) -> str:
    """The table: what the driver did, then the runs by their kind, then each run."""
    lines = [f"{whole:.1f} s in all, {len(runs)} runs, {sum(one.run.trial for one in runs)} of them trials"]
    lines += [f"{stage.end - stage.start:8.2f} s  {stage.name}, from {stage.start:.2f}" for stage in stages]
    for kind in dict.fromkeys(one.kind for one in runs):
        some = [one for one in runs if one.kind == kind]
        first, last = min(one.start for one in some), max(one.end for one in some)
        inside = {purpose: sum(getattr(one.result, f"{purpose}_seconds", 0.0) for one in some) for purpose in PURPOSES}
        parts = ", ".join(f"{purpose} {seconds:.1f}" for purpose, seconds in inside.items())
        lines.append(f"{last - first:8.2f} s  {len(some)} {kind}, from {first:.2f}; sums of the runs' own: {parts}")
    lines.append(f"{'run':44} {'start':>7} {'end':>7} {'takes':>6} {'beside':>6} {'setup':>6} {'train':>6} {'eval':>6}")
    for one in runs:
        spent = " ".join(f"{getattr(one.result, f'{purpose}_seconds', 0.0):6.2f}" for purpose in PURPOSES)
        times = f"{one.start:7.2f} {one.end:7.2f} {one.end - one.start:6.2f}"
        lines.append(f"{one.run.id:44} {times} {one.beside:6d} {spent}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
