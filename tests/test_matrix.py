"""Every method on every architecture: trained, saved, loaded by plain libraries, merged (`tests/matrix.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from compatibility import PAGE, page
from holes import HOLES, hole_of
from matrix import Cell, answers_in_bfloat16, reload, verify
from tiny_models import CONFIGURATIONS, UNKNOWN
from tuneoff.spec.arms import METHODS

KINDS = [*CONFIGURATIONS, *UNKNOWN]
TRAINED = [name for name, method in METHODS.classes().items() if not method.fitted]
DIAGONAL = [(KINDS[(5 * number) % len(KINDS)], method) for number, method in enumerate(TRAINED)]
"""Each method once, on ever other architectures."""


def assert_as_declared(cells: list[Cell]) -> None:
    """Nothing fails but what is declared, and what is declared does fail."""
    wrong = []
    for cell in cells:
        expected = {hole.what for hole in HOLES if hole_of(cell.method, cell.kind, hole.what) is not None}
        if "builds" in expected:
            expected = {"builds"}
        if cell.merges is None:  # as into quantised weights, it was not tried
            expected.discard("merges")
        undeclared = {what: how for what, how in cell.failures.items() if what not in expected}
        if undeclared:
            wrong.append(f"{cell.method} on {cell.kind}: {undeclared}")
        wrong += [f"{cell.method} on {cell.kind}: works ({what})" for what in expected - cell.failures.keys()]
    assert wrong == []


def made(asked: list[tuple[str, str]], folder: Path) -> list[Cell]:
    cells = [verify(kind, method, folder) for kind, method in asked]
    reload(cells)
    return cells


def test_methods_on_some_architectures(tmp_path: Path) -> None:
    assert_as_declared(made(DIAGONAL[::8], tmp_path))


@pytest.mark.wide
def test_each_method_on_some_architecture(tmp_path: Path) -> None:
    rest = [cell for number, cell in enumerate(DIAGONAL) if number % 8]
    assert_as_declared(made(rest, tmp_path))


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
def test_all_methods_on_an_architecture(kind: str, tmp_path: Path) -> None:
    assert_as_declared(made([(kind, method) for method in TRAINED], tmp_path))


def test_holes_are_of_methods_and_architectures_that_there_are() -> None:
    for hole in HOLES:
        assert set(hole.methods) <= set(TRAINED)
        assert set(hole.kinds) <= set(KINDS)


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python tests/compatibility.py`"


QUANTISED = [(method, quantization) for method in TRAINED for quantization in METHODS.classes()[method].quantizations()]


def _quantised(kind: str, asked: Sequence[tuple[str, str]], folder: Path) -> list[Cell]:
    cells = [verify(kind, method, folder, quantization=quantization) for method, quantization in asked]
    reload(cells)
    return cells


def test_methods_on_quantised_backbones(tmp_path: Path) -> None:
    asked = [("lora", "fp4"), ("qlora", "int8"), ("ia3", "nf4"), ("vera", "int8"), ("bitfit", "nf4"), ("road", "fp4")]
    assert_as_declared(_quantised("bert", asked, tmp_path))


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["bert", "llama"])
@pytest.mark.parametrize("quantization", ["nf4", "fp4", "int8"])
def test_all_methods_on_quantised_backbones(kind: str, quantization: str, tmp_path: Path) -> None:
    asked = [one for one in QUANTISED if one[1] == quantization]
    assert_as_declared(_quantised(kind, asked, tmp_path))


BFLOAT16 = [
    (method, quantization) for method in TRAINED for quantization in (None, *METHODS.classes()[method].quantizations())
]


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        pytest.param("bert", 0, marks=pytest.mark.wide),
        pytest.param("llama", 1, marks=pytest.mark.wide),
        pytest.param("bert", 1, marks=pytest.mark.matrix),
        pytest.param("llama", 0, marks=pytest.mark.matrix),
    ],
)
def test_methods_train_and_answer_in_bfloat16(kind: str, first: int, tmp_path: Path, subtests: pytest.Subtests) -> None:
    """As they do by default wherever the device has it: beside weights in bfloat16 some of peft's layers mix types.

    Of the list of methods, each with and without quantised backbones, an architecture is given every second one.
    """
    for method, quantization in BFLOAT16[first::2]:
        with subtests.test(method, quantization=quantization):
            options = {} if quantization is None else {"quantization": quantization}
            if hole_of(method, kind, "builds") is None:
                trained, loaded = answers_in_bfloat16(kind, method, tmp_path, **options)
                assert np.isfinite(trained).all()
                np.testing.assert_allclose(loaded, trained, rtol=0.05, atol=0.05)
