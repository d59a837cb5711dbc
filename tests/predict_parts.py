"""What the tests of predictions share: saved models."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tuneoff
from conftest import study_toml

Models = dict[str, Path]
ARMS = ("lora", "full", "frozen_features")


@pytest.fixture(scope="module")
def models(tiny_model: Path, data_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Folders of saved models by arm, and `three`: a LoRA of the same base model with three classes."""
    folder = tmp_path_factory.mktemp("studies")
    found: Models = {}
    (folder / "two.toml").write_text(study_toml(tiny_model, data_files, ARMS, seeds=1))
    third = folder / "data"
    third.mkdir()
    for name in ("train", "test"):
        rows = pd.read_csv(data_files / f"{name}.csv")
        rows["label"] = [("bad", "fine", "good")[row % 3] for row in range(len(rows))]
        rows.to_csv(third / f"{name}.csv", index=False)
    (folder / "three.toml").write_text(study_toml(tiny_model, third, ["lora"], seeds=1, epochs=1))
    for study in ("two", "three"):
        results = tuneoff.run_study(tuneoff.load_study(folder / f"{study}.toml"), folder / study, report=False)
        for run in results.runs:
            found[run.arm if study == "two" else study] = folder / study / "runs" / run.run_id / "model"
    return found
