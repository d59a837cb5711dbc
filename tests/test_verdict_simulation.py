"""The simulation behind docs/statistics.md, on few cells: the verdict seldom errs, and finds what is there."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "verdict_simulation.py"
STUDIES = 200


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Three seeds, their share a fifth, few and many test examples, two and six arms."""
    out = tmp_path_factory.mktemp("simulation") / "cells.json"
    sizes = ("--seeds", "3", "--shares", "0.2", "--examples", "296", "2000", "--arms", "2", "6")
    asked = ("--studies", STUDIES, "--processes", "2", "--seed", "1", "--json", out, *sizes)
    called = subprocess.run([sys.executable, SCRIPT, *map(str, asked)], capture_output=True, text=True)
    assert called.returncode == 0, called.stdout + called.stderr
    assert "Every requirement holds" in called.stdout
    assert "\n| 3 | 2,000 | " in called.stdout
    return list(json.loads(out.read_text()))


def _percent(rows: list[dict[str, Any]], name: str, scenario: str, examples: int, arms: int) -> float:
    (row,) = (row for row in rows if (row["scenario"], row["examples"], row["arms"]) == (scenario, examples, arms))
    assert row["studies"] == STUDIES
    return 100 * float(row[name])


def test_wrong_claims_are_as_seldom_as_they_should_be(rows: list[dict[str, Any]]) -> None:
    """Two standard errors above 5% of 200 studies are 8%."""
    assert len(rows) == 5 * 4
    for row in rows:
        assert max(row["wrong_pair"], row["wrong_most_accurate"], row["wrong_shown"]) <= 0.08, row
        assert row["covered"] >= 0.93, row
        assert row["holds"] >= 0.93, row
        assert row["answers"] == 1, row


@pytest.mark.parametrize("arms", [2, 6])
def test_what_is_there_is_found(rows: list[dict[str, Any]], arms: int) -> None:
    assert _percent(rows, "shown", "lead 3", 2000, arms) >= 75
    assert _percent(rows, "most_accurate", "lead 3", 2000, arms) >= 75
    assert _percent(rows, "shown", "lead 10", 296, arms) >= 93
    assert _percent(rows, "most_accurate", "equal", 2000, arms) <= 8


def test_what_does_not_hold_is_said(rows: list[dict[str, Any]]) -> None:
    failures = runpy.run_path(str(SCRIPT))["failures"]
    assert failures(rows) == []
    (said,) = failures([{**rows[0], "wrong_shown": 0.09}])
    assert said.startswith("wrong_shown is 9.0% where it may be 5% (scenario equal, seeds 3")
    (said,) = failures([{**rows[0], "holds": 0.8}])
    assert said.startswith("holds is 80.0%")
    assert failures([{**rows[0], "wide": True, "wrong_pair": 0.5}]) == []


def test_it_runs_without_torch() -> None:
    code = f"import runpy, sys; runpy.run_path({str(SCRIPT)!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
