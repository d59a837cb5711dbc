"""The notebook in `notebooks/`: it is what its source says, and it runs offline from its first cell to its last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def cells(path: Path) -> list[tuple[str, str]]:
    import jupytext

    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_the_notebook_agrees_with_its_source() -> None:
    assert cells(NOTEBOOKS / "tuneoff.ipynb") == cells(NOTEBOOKS / "tuneoff.py")  # else: make notebook


@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path) -> None:
    import nbformat

    copy = tmp_path / "tuneoff.ipynb"
    shutil.copy(NOTEBOOKS / "tuneoff.ipynb", copy)
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
