"""Names of the files in a run's folder."""

from __future__ import annotations

RESULT = "result.json"
PREDICTIONS = "predictions.parquet"
PROGRESS = "progress.json"
CHECKPOINT = "checkpoint.pt"
MODEL = "model"
"""A folder."""
