"""The plan: which runs a study consists of, each with an identity of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.data.parts import WHOLE, part_names
from tuneoff.files import canonical_hash
from tuneoff.methods import Method
from tuneoff.study.search import trial_steps
from tuneoff.training.loop import total_steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.spec import ExecutionSpec, StudySpec, TrainingSpec
    from tuneoff.study.prepare import PreparedStudy

RESULT_SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Run:
    """One arm with one seed on one part of the data (see `tuneoff.data.parts`).

    A trial is a run that tunes: it is scored on validation only, and never opens the test split.

    Attributes:
        id: names it, and ends in a hash of all that decides its result.
        arm: with its learning rate.
        seed: of the head, the order of examples and the dropout.
        steps: optimiser steps.
        part: of the data.
        trial: whether it tunes.
    """

    id: str
    arm: Method
    seed: int
    steps: int
    part: str = WHOLE
    trial: bool = False

    def entry(self) -> dict[str, Any]:
        """What `plan.json` says of this run."""
        return {
            "id": self.id,
            "arm": self.arm.name,
            "method": self.arm.method,
            "seed": self.seed,
            "part": self.part,
            "learning_rate": self.arm.rate,
            "steps": self.steps,
            "trial": self.trial,
        }


@dataclass(frozen=True)
class Place:
    """Which of a run's processes one is: the number `rank` of `ranks`, which find each other through a new file."""

    rank: int = 0
    ranks: int = 1
    meeting_file: str = ""


@dataclass(frozen=True)
class RunTask:
    """All that a worker process needs to carry out a run.

    `base_model` is what a saved adapter calls its model, and `base_revision` the commit where that is on the Hub:
    `model_folder` may be another where the run is carried out.
    `micro_batch` is the number of sequences computed at once (all of a batch when None), `cores` that of processor
    cores (all when None); `shared_device` says that other runs compute on the same device at the same time; `place`
    tells the processes of a run on several devices apart.
    """

    run: Run
    training: TrainingSpec
    execution: ExecutionSpec
    model_folder: Path
    data_folder: Path
    run_folder: Path
    num_labels: int
    pad_token_id: int
    base_model: str
    keep_model: bool
    on_cpu: bool
    micro_batch: int | None = None
    cores: int | None = None
    shared_device: bool = False
    place: Place = Place()
    base_revision: str | None = None

    @property
    def log(self) -> Path:
        """Where the process of this place writes what it prints."""
        return self.run_folder / (f"log-{self.place.rank}.txt" if self.place.rank else "log.txt")

    def identity(self) -> dict[str, Any]:
        """The fields of `result.json` that say which run it is."""
        entry = self.run.entry()
        return {"schema_version": RESULT_SCHEMA_VERSION, "run_id": entry.pop("id"), **entry}


@dataclass(frozen=True)
class Outcome:
    """What a run sends back.

    `result` is the content of `result.json`; `logits` those of the test split, of a run that succeeded;
    `stops_study` says that it failed for a reason that every run would fail for, such as a full disk; `failed_at`
    (of the machine's monotonic clock) when a process that failed noticed it, 0 where others found it dead.
    """

    result: dict[str, Any]
    logits: NDArray[np.float32] | None = None
    stops_study: bool = False
    failed_at: float = 0.0


def plan_runs(spec: StudySpec, prepared: PreparedStudy, tuned: Callable[[str], Iterable[Method]]) -> list[Run]:
    """Every arm with every seed on every part, so ordered that a study cut short has still compared all arms.

    Args:
        spec: the study.
        prepared: its data.
        tuned: the study's arms with the learning rates that they run at on a part.
    """
    arms = {part: list(tuned(part)) for part in part_names(spec.data)}
    return [make_run(spec, prepared, arm, seed, part) for seed in spec.seeds for part in arms for arm in arms[part]]


def make_run(spec: StudySpec, prepared: PreparedStudy, arm: Method, seed: int, part: str, trial: bool = False) -> Run:
    """A run; its id ends in a hash of all that decides its result, so an old result is never taken for another's."""
    named = [] if part == WHOLE else [part]
    steps = steps_of(spec, prepared, part)
    if trial:
        steps = trial_steps(steps)
    tried = [f"trial{arm.rate:g}", steps] if trial else []
    decisive = [
        RESULT_SCHEMA_VERSION,
        prepared.prepared.part(part).fingerprint,
        prepared.prepared.model_fingerprint,
        spec.training.model_dump(mode="json"),
        arm.model_dump(mode="json", exclude={"learning_rate_range"}),
        seed,
        *named,
        *tried,
    ]
    name = "-".join([arm.name, *map(str, tried[:1]), f"seed{seed}", *named, canonical_hash(decisive)[:10]])
    return Run(name, arm, seed, steps, part, trial)


def steps_of(spec: StudySpec, prepared: PreparedStudy, part: str) -> int:
    """Optimiser steps of a run on a part of the data."""
    return total_steps(prepared.prepared.part(part).sizes["train"], spec.training)
