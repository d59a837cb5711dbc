"""The study file: its schema, reading it, and saying in one line what is wrong with it."""

from __future__ import annotations

from tuneoff.spec.analysis import AnalysisSpec
from tuneoff.spec.data import DataSpec
from tuneoff.spec.load import ask_otherwise, load_study, shipped_studies
from tuneoff.spec.schema import (
    ExecutionSpec,
    ModelSpec,
    StudySpec,
    TrainingSpec,
    TuningSpec,
)
from tuneoff.spec.tracking import TrackingSpec

__all__ = [
    "AnalysisSpec",
    "DataSpec",
    "ExecutionSpec",
    "ModelSpec",
    "StudySpec",
    "TrackingSpec",
    "TrainingSpec",
    "TuningSpec",
    "ask_otherwise",
    "load_study",
    "shipped_studies",
]
