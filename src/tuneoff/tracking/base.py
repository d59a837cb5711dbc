"""What every tracker does, and what all of them are told: plain names, numbers and words, never a text of the data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash
from tuneoff.records.run import TrainedRun

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import RunResult
    from tuneoff.records.summary import Summary
    from tuneoff.spec import StudySpec

Value = str | int | float | bool

CURVES = ("train_loss", "validation_loss", "validation_accuracy")
"""What a run's curve holds for each epoch, against the optimiser step."""
UNTOLD = (
    *("schema_version", "run_id", "arm", "method", "seed", "part", "learning_rate", "trial"),
    *("curve", "guess_loss", "loss_trace", "steps", "error", "predictions_sha256", "sha256"),
)
"""Fields of a result that are no part of its outcome, or could hold words of the data (an error's message)."""
TABLE = {
    "arm": "arm",
    "method": "method",
    "runs": "runs",
    "test_accuracy": "test_accuracy.mean",
    "test_accuracy_ci_low": "test_accuracy.ci_low",
    "test_accuracy_ci_high": "test_accuracy.ci_high",
    "train_seconds": "train_seconds",
    "peak_train_memory_bytes": "peak_train_memory_bytes",
    "trainable_parameters": "trainable_parameters",
    "checkpoint_bytes": "checkpoint_bytes",
}
"""Columns of the final table, and where `summary.json` has them in an arm's entry."""


@dataclass(frozen=True)
class Tracked:
    """The study that is tracked.

    Attributes:
        spec: the study.
        folder: its folder, absolute.
        token: drawn once for this folder, so that the same study in another folder is never taken for it.
    """

    spec: StudySpec
    folder: Path
    token: str

    def identity(self, name: str) -> str:
        """What a tracker knows a run, or the study's own entry, by: 16 hexadecimal digits, always the same."""
        return canonical_hash([self.token, name])[:16]


class Tracker(ABC):
    """Shows a study's results elsewhere. It works in the process that drives the study, on a thread of its own.

    A method may raise what it likes: `tuneoff.tracking.Trackers` then goes on without this tracker. Being told of the
    same run again replaces what it was told before.

    Args:
        study: the study that is tracked.
    """

    name: ClassVar[str | None] = None
    """Its field in `[tracking]`."""

    def __init__(self, study: Tracked) -> None:
        self._study = study

    @classmethod
    def registered_name(cls) -> str | None:
        """Its field in `[tracking]`."""
        return cls.name

    @classmethod
    @abstractmethod
    def check(cls, spec: StudySpec) -> bool:
        """Whether it is to be used; False where the user's environment turns it off. Writes nothing, asks nothing.

        Raises:
            UserError: where its package is missing, or it would have to ask for something.
        """

    def waits_for_server(self) -> bool:
        """Whether it talks to a server, which may be slow or gone; the study does not wait for it between runs."""
        return True

    @abstractmethod
    def track_run(self, result: RunResult) -> None:
        """Takes up a run that has ended, from its stored result."""

    @abstractmethod
    def track_study(self, results: StudyResults) -> None:
        """Takes up the final table, the charts and the recommendation; the report is written by then."""

    @abstractmethod
    def where(self) -> str:
        """A command that shows what was tracked, or the place where it is."""


def require(field: str, *packages: str) -> None:
    """Refuses a tracker whose packages are not installed; folders of such names in the current one do not count.

    Raises:
        UserError: with what to install.
    """
    for package in packages:
        found = find_spec(package)
        if found is None or found.origin is None:
            raise UserError(f"tracking.{field} needs {package}, which is not installed: pip install 'tuneoff[{field}]'")


def run_config(study: Tracked, result: RunResult) -> dict[str, Value]:
    """All that decides a run's result: arm and options, model, data, training; nested names are joined by dots."""
    from tuneoff.data.prepared import read_prepared

    spec = study.spec
    arm = next(arm for arm in spec.arms if arm.name == result.arm)
    prepared = read_prepared(study.folder)
    options = arm.model_dump(mode="json", exclude={"name", "method", "learning_rate"})
    return flat(
        {
            "study": spec.name,
            "run": result.run_id,
            "arm": result.arm,
            "method": result.method,
            "seed": result.seed,
            "learning_rate": result.learning_rate,
            "part": result.part,
            "trial": result.trial,
            "options": options,
            "model": spec.model.model_dump(mode="json"),
            "data": {
                **spec.data.model_dump(mode="json", include={"source", "id", "config", "revision", "max_length"}),
                "sizes": prepared.part(result.part).sizes,
                "classes": len(prepared.label_names),
            },
            "training": spec.training.model_dump(mode="json"),
        }
    )


def run_outcome(result: RunResult) -> dict[str, Value]:
    """Scores, costs and circumstances of a run; nested names are joined by dots (`peak_memory_bytes.train`)."""
    return flat({name: value for name, value in result.model_dump(mode="json").items() if name not in UNTOLD})


def run_curve(result: RunResult) -> list[tuple[int, dict[str, float]]]:
    """For each epoch the optimiser step and the values of `CURVES`, as `curve/<name>`; empty of a run that failed."""
    return [
        (point.step, {f"curve/{name}": float(getattr(point, name)) for name in CURVES})
        for point in (result.curve if isinstance(result, TrainedRun) else ())
    ]


def study_table(summary: Summary) -> list[dict[str, Value | None]]:
    """The final table: a row an arm with the columns of `TABLE`, None where an arm has no result."""
    rows = [flat(arm.model_dump(mode="json")) for arm in summary.arms]
    return [{column: row.get(field) for column, field in TABLE.items()} for row in rows]


def study_outcome(summary: Summary) -> dict[str, Value]:
    """The study in numbers: how many runs, each arm's row of the table, the baselines, the arm that is recommended."""
    arms = {
        row["arm"]: {column: row[column] for column in row if column not in ("arm", "method")}
        for row in study_table(summary)
    }
    baselines = {baseline.baseline: {"test_accuracy": baseline.test_accuracy} for baseline in summary.baselines}
    recommended = summary.recommendation.arm or "none"
    runs = summary.runs.model_dump(mode="json")
    return flat({"runs": runs, "arms": arms, "baselines": baselines, "recommended": recommended})


def study_charts(results: StudyResults) -> list[Path]:
    """The charts of the report, as PNG files, by name."""
    return sorted((results.folder / "charts").glob("*.png"))


def numbers(values: Mapping[str, Value]) -> dict[str, float]:
    """What can be drawn."""
    return {name: value for name, value in values.items() if not isinstance(value, str | bool)}


def words(values: Mapping[str, Value]) -> dict[str, Value]:
    """The rest: words and truth values."""
    return {name: value for name, value in values.items() if isinstance(value, str | bool)}


def flat(values: Mapping[Any, Any], before: str = "") -> dict[str, Value]:
    """Nested mappings as one, with names joined by dots; None is left out, and lists become words."""
    found: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        elif isinstance(value, str | int | float):
            found[f"{before}{name}"] = value
        elif value is not None:
            found[f"{before}{name}"] = ", ".join(map(str, value))
    return found
