"""Learning rates that a study leaves to the literature: settled once its model is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.files import read_json
from tuneoff.models.families import kind_of

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec

WIDTHS = ("hidden_size", "dim", "n_embd", "d_model")
"""What architectures call the width of their hidden states."""


def at_published_rates(spec: StudySpec, model_folder: Path) -> StudySpec:
    """The study with each arm that names no learning rate at the one published for this kind of model."""
    config = read_json(model_folder / "config.json")
    width = next((config[name] for name in WIDTHS if isinstance(config.get(name), int)), 0)
    kind = kind_of(str(config.get("model_type")), width)
    return spec.model_copy(update={"arms": tuple(arm.at_published_rate(kind) for arm in spec.arms)})
