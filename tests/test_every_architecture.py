"""The benchmark of every architecture: it knows them all, times the same texts in any order, and says what failed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_models import CONFIGURATIONS, UNKNOWN

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def _called(*arguments: object) -> str:
    command = [sys.executable, BENCHMARKS / "every_architecture.py", "--tiny", *arguments]
    called = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert called.returncode == 0, called.stdout + called.stderr
    return called.stdout


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("every_architecture")


def test_it_knows_every_architecture(benchmark: Any) -> None:
    assert set(benchmark.configurations(benchmark.BASE)) == {*CONFIGURATIONS, *UNKNOWN}
    assert set(benchmark.ELSEWHERE) < {*CONFIGURATIONS, *UNKNOWN}


def test_the_same_texts_are_timed_in_either_order(benchmark: Any) -> None:
    lengths = benchmark.drawn_lengths(3072, 512)
    assert 250 < lengths.mean() < 270
    assert 0.08 < np.mean(lengths == lengths.max()) < 0.15
    work = benchmark.Work("bert", benchmark.BASE, lengths, (), 16, 24, 8, 0.0)
    drawn, by_length = (benchmark.batches_of(work, bucketed) for bucketed in (False, True))
    for part in (slice(0, 8), slice(8, 24), slice(24, 192)):
        assert {len(rows) for rows in by_length[part]} == {16}
        texts = [np.sort(np.concatenate(order[part])) for order in (drawn, by_length)]
        np.testing.assert_array_equal(texts[0], texts[1])
    longest = [lengths[rows].max() for rows in by_length]
    assert longest[0] == max(longest[:8])
    assert sum(longest) < 0.7 * sum(lengths[rows].max() for rows in drawn)
    tokens = benchmark.texts(work)
    np.testing.assert_array_equal(tokens.lengths, lengths)
    assert np.sum(tokens.ids == benchmark.END) == len(tokens)


def test_what_there_is_no_time_for_is_said(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    said = _called("--seconds", 0, "--only", "bert", "gpt2", "t5", "--shard", "1/2", "--arms", "ia3", "--json", out)
    assert "gpt2 ia3, trainer-grouped: left out for time\ngpt2 ia3, tuneoff: left out for time" in said
    assert {row["architecture"] for row in json.loads(out.read_text())["measured"]} == {"gpt2"}


@pytest.mark.long
def test_both_engines_are_measured_and_the_rest_goes_on_after_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    said = _called("--steps", 3, "--only", "bert", "t5", "--arms", "no_method", "lora", "--json", out)
    found = json.loads(out.read_text())
    rows = {(row["architecture"], row["arm"], row["engine"]): row for row in found["measured"]}
    assert len(rows) == 2 * 2 * 3
    for (_, arm, _), row in rows.items():
        if arm == "no_method":
            assert row["error"].startswith("ValueError: unknown method 'no_method'")
        else:
            assert row["examples_per_second"] > 0
    by_name = {row["architecture"]: row for row in found["summary"] if row["arm"] == "lora"}
    assert [by_name[kind]["batches"] for kind in ("bert", "t5")] == ["packed", "padded, equal ends"]
    fastest = max(rows["bert", "lora", engine]["examples_per_second"] for engine in ("trainer", "trainer-grouped"))
    ours = rows["bert", "lora", "tuneoff"]["examples_per_second"]
    assert by_name["bert"]["speed"] == pytest.approx(ours / fastest)
    assert "\n| t5 | lora | padded, equal ends | " in said
    assert "t5 no_method, tuneoff: ValueError: unknown method 'no_method'" in said
