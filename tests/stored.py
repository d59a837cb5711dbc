"""Results of runs as they could be stored, for tests of what is made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tuneoff.core.files import canonical_hash
from tuneoff.records.conditions import Conditions
from tuneoff.records.measurements import CurvePoint, MeasuredPeakBytes, ParameterCounts, PeakBytes
from tuneoff.records.plan import PlanEntry
from tuneoff.records.record import Record
from tuneoff.records.run import DivergedRun, ScoredRun, UnfinishedRun, UnfinishedStatus
from tuneoff.records.saved_model import BaseModel, SavedModel, TextRules

OF_A_RUN: dict[str, Any] = {
    "run_id": "full-seed0-0123456789",
    "arm": "full",
    "method": "full",
    "seed": 0,
    "learning_rate": 1e-3,
    "steps": 25,
    "memory_kind": "process_rss",
}
UNKNOWN = PeakBytes(train=None, eval=None, reserved=None)


def scored_run(**changes: Any) -> ScoredRun:
    """A run that came to its end, with some fields as given."""
    fields: dict[str, Any] = {
        **OF_A_RUN,
        "test_accuracy": 0.5,
        "test_macro_f1": 0.5,
        "checkpoint_bytes": 1000,
        "validation_accuracy": 0.5,
        "parameters": ParameterCounts(total=10, backbone=8, adapter=0, head=2, trainable=10),
        "train_seconds": 1.0,
        "setup_seconds": 1.0,
        "eval_seconds": 1.0,
        "wall_seconds": 3.0,
        "train_examples_per_second": 100.0,
        "peak_memory_bytes": MeasuredPeakBytes(train=1, eval=1, reserved=1),
        "conditions": conditions(),
        "curve": (curve_point(),),
        "guess_loss": 1.0,
        "loss_trace": ((25, 1.0),),
    }
    return ScoredRun(**(fields | changes))


def conditions(**changes: Any) -> Conditions:
    """What a run was computed on, with some fields as given."""
    fields: dict[str, Any] = {
        "device_type": "cpu",
        "device": "a CPU",
        "devices": 1,
        "parallel": "none",
        "precision": "fp32",
        "cores": 2,
        "shared_device": False,
        "engine": {"batches": "packed", "micro_batch_size": 8, "parallel": "none", "step": "eager"},
        "versions": {"python": "3.11"},
        "system": "Linux",
    }
    return Conditions(**(fields | changes))


def saved_model(kind: str, label_names: tuple[str, ...], **changes: Any) -> SavedModel:
    """What a saved model says of itself, with some fields as given; its base model is a folder of no known place."""
    fields: dict[str, Any] = {
        "base": BaseModel(id="tiny", fingerprint=""),
        "texts": TextRules(label_names=label_names, max_length=32),
        "study": "small",
        "precision": "fp32",
        "sha256": {},
    }
    fields |= {name: OF_A_RUN[name] for name in ("run_id", "arm", "method", "seed", "learning_rate")}
    return SavedModel(**(fields | {"kind": kind} | changes))


def plan_entry(**changes: Any) -> PlanEntry:
    """What a plan says of such a run, with some fields as given."""
    fields = {name: OF_A_RUN[name] for name in ("arm", "method", "seed", "learning_rate", "steps")}
    return PlanEntry(id=OF_A_RUN["run_id"], **(fields | changes))


def curve_point(**changes: Any) -> CurvePoint:
    """A run after its first epoch, with some fields as given."""
    fields: dict[str, Any] = {
        "epoch": 1,
        "step": 25,
        "train_loss": 1.0,
        "validation_loss": 1.0,
        "validation_accuracy": 0.5,
        "largest_share": 0.5,
        "train_seconds": 1.0,
    }
    return CurvePoint(**(fields | changes))


def diverged_run(*losses: float | None) -> DivergedRun:
    """A run whose training loss went like this, where guessing gives 1."""
    trace = tuple(enumerate(losses, start=1))
    return DivergedRun(
        **OF_A_RUN,
        status="diverged",
        error="lost",
        peak_memory_bytes=UNKNOWN,
        conditions=conditions(),
        guess_loss=1.0,
        loss_trace=trace,
    )


def unfinished_run(status: UnfinishedStatus = "failed", error: str = "lost") -> UnfinishedRun:
    """A run that came to no end."""
    return UnfinishedRun(**OF_A_RUN, status=status, error=error, peak_memory_bytes=UNKNOWN, conditions=None)


def altered(folder: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a study in which each run's result says something else, as if it had come so."""
    shutil.copytree(folder, to)
    for path in to.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        del result["sha256"]
        change(result)
        path.write_text(json.dumps({**result, "sha256": canonical_hash(result)}))
    return to


def dictionary(record: Record) -> dict[str, Any]:
    """A record as it is stored, for tests that look at its fields by their names."""
    return record.model_dump(mode="json")


def dictionaries(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Several of them."""
    return [dictionary(record) for record in records]
