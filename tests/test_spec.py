"""The study file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneoff.errors import UserError
from tuneoff.spec import load_study, shipped_studies


@pytest.mark.parametrize("name", shipped_studies())
def test_shipped_studies_are_valid_and_survive_being_written(name: str, tmp_path: Path) -> None:
    spec = load_study(name)
    assert spec.name == name
    (tmp_path / "study.toml").write_text(spec.to_toml())
    assert load_study(tmp_path / "study.toml") == spec


def test_overrides_reach_every_level() -> None:
    overrides = ["training.epochs=1", "arms.lora.r=4", "arms.0.learning_rate=1e-5", "seeds=[7, 8]", "model.id=./here"]
    spec = load_study("imdb-roberta", overrides)
    assert spec.training.epochs == 1
    assert spec.arms[1].model_dump()["r"] == 4
    assert spec.arms[0].learning_rate == 1e-5
    assert spec.seeds == (7, 8)
    assert spec.model.id == "./here"


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_study("quickstart").name = "other"  # type: ignore[misc]


def test_errors_are_value_errors() -> None:
    with pytest.raises(UserError, match="did you mean 'epochs'"):
        load_study("quickstart", ["training.epoch=1"])
    assert issubclass(UserError, ValueError)
