"""The plan: which runs a study consists of, each with an identity of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneoff.files import canonical_hash
from tuneoff.methods import Method

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tuneoff.spec import StudySpec, TrainingSpec
    from tuneoff.study.prepare import PreparedStudy

RESULT_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Run:
    """One arm with one seed."""

    id: str
    arm: Method
    seed: int

    def entry(self) -> dict[str, Any]:
        """What `plan.json` says of this run."""
        return {
            "id": self.id,
            "arm": self.arm.name,
            "method": self.arm.method,
            "seed": self.seed,
            "learning_rate": self.arm.learning_rate,
        }


@dataclass(frozen=True)
class RunTask:
    """All that a worker process needs to carry out a run."""

    run: Run
    training: TrainingSpec
    model_folder: Path
    data_folder: Path
    run_folder: Path
    num_labels: int
    pad_token_id: int
    keep_model: bool

    def identity(self) -> dict[str, Any]:
        """The fields of `result.json` that say which run it is."""
        entry = self.run.entry()
        return {"schema_version": RESULT_SCHEMA_VERSION, "run_id": entry.pop("id"), **entry}


@dataclass(frozen=True)
class Outcome:
    """What a run sends back: the content of `result.json`, and the test logits of a run that succeeded."""

    result: dict[str, Any]
    logits: NDArray[np.float32] | None = None


def plan_runs(spec: StudySpec, prepared: PreparedStudy) -> list[Run]:
    """Every arm with every seed, seed by seed, so that a study cut short has still compared all arms.

    A run's id ends in a hash of all that decides its result, so an old result is never taken for another's.
    """
    shared = [
        RESULT_SCHEMA_VERSION,
        prepared.prepared.fingerprint,
        prepared.prepared.model_fingerprint,
        spec.training.model_dump(mode="json"),
    ]
    runs = []
    for seed in spec.seeds:
        for arm in spec.arms:
            digest = canonical_hash([*shared, arm.model_dump(mode="json"), seed])
            runs.append(Run(f"{arm.name}-seed{seed}-{digest[:10]}", arm, seed))
    return runs
