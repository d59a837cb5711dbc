"""How wide a model is, by which its learning rates start."""

from __future__ import annotations

from pathlib import Path

from tuneoff.core.files import read_json

WIDTHS = ("hidden_size", "dim", "n_embd", "d_model")
"""What architectures call the width of their hidden states."""
USUAL_WIDTH = 768
"""Of a base encoder."""


def model_width(model_folder: Path) -> int:
    """The width of a model's hidden states; 768 where its configuration does not name it."""
    config = read_json(model_folder / "config.json")
    return next((config[name] for name in WIDTHS if isinstance(config.get(name), int)), USUAL_WIDTH)
