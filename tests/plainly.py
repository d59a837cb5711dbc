"""What saved models say without tuneoff: to plain transformers and peft, in another process, by their recipes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plain_process
from tuneoff.models.recipe import loading_lines
from tuneoff.models.saved import SavedFolder


@dataclass(frozen=True)
class Plain:
    """What a saved model says of some texts.

    Attributes:
        alone: logits of each text by itself, float32, shape (texts, classes).
        padded: of all of them as one batch, likewise.
        labels: the classes' names, in the order of the logits; none of an ONNX graph, which has no names.
    """

    alone: NDArray[np.float32]
    padded: NDArray[np.float32]
    labels: list[str]


def plain_answers(folders: Iterable[Path], texts: Sequence[Any]) -> list[Plain]:
    """What each of some saved models says of the same texts (or pairs of them): see `plain_answers_of`."""
    return plain_answers_of([(folder, texts) for folder in folders])


def plain_answers_of(asked: Iterable[tuple[Path, Sequence[Any]]]) -> list[Plain]:
    """What each of some saved models says of its texts (or pairs of them), all in a process free of tuneoff.

    Args:
        asked: folders of saved models whose base models lie where they were, and texts.
    """
    jobs = []
    for folder, texts in asked:
        opened = SavedFolder.open(folder)
        base = opened.base_folder()
        jobs.append((loading_lines(opened.saved, str(folder), None if base is None else str(base)), texts))
    return _answers(jobs)


def run_lines(codes: Iterable[str], texts: Sequence[Any]) -> list[Plain]:
    """What the models say that some lines of Python load, all in a process free of tuneoff."""
    return _answers([(code, texts) for code in codes])


def _answers(asked: Iterable[tuple[str, Sequence[Any]]]) -> list[Plain]:
    jobs = [(code, [list(text) if isinstance(text, tuple) else text for text in texts]) for code, texts in asked]
    return [
        Plain(np.array(one["alone"], np.float32), np.array(one["padded"], np.float32), one["labels"])
        for one in _process().submit(plain_process.answers, jobs).result()
    ]


@cache
def _process() -> ProcessPoolExecutor:
    """One process for all tests, since it takes seconds to import."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
