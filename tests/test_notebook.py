"""The notebook in `notebooks/`: it is what its source says, and it runs offline from its first cell to its last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SIZES = {
    "data.train_size=400": "data.train_size=32",
    "data.validation_size=60": "data.validation_size=16",
    "data.test_size=200": "data.test_size=40",
    "data.max_length=64": "data.max_length=24",
}
"""Its study's, which here has fewer and shorter examples: its cells do the same in a tenth of the time."""


def cells(path: Path) -> list[tuple[str, str]]:
    import jupytext

    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_the_notebook_agrees_with_its_source() -> None:
    assert cells(NOTEBOOKS / "tuneoff.ipynb") == cells(NOTEBOOKS / "tuneoff.py")  # else: make notebook


@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path) -> None:
    import nbformat

    shipped = (NOTEBOOKS / "tuneoff.ipynb").read_text(encoding="utf-8")
    for size, smaller in SIZES.items():
        assert shipped.count(size) == 1
        shipped = shipped.replace(size, smaller)
    copy = tmp_path / "tuneoff.ipynb"
    copy.write_text(shipped, encoding="utf-8")
    options = ["-p", "no:cacheprovider", "--nbmake", "--nbmake-timeout=900", "--overwrite"]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, f"--rootdir={tmp_path}", str(copy)],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout
    code = [cell for cell in nbformat.read(copy, as_version=4).cells if cell.cell_type == "code"]
    shown: list[dict[str, Any]] = [output.get("data", {}) for cell in code for output in cell.outputs]
    assert sum("image/svg+xml" in data for data in shown) == 3
    assert any("<td>full</td>" in data.get("text/html", "") for data in shown)
    printed = ["".join(output.get("text", "") for output in cell.outputs) for cell in code]
    assert printed[-2].count("margin ") == 3
    assert printed[-1].count("label ") == 2
    results = sorted((tmp_path / "studies-out" / "notebook" / "runs").glob("*/result.json"))
    assert len(results) == 9
