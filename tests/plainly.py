"""What saved models say without tuneoff: to plain transformers and peft, in a fresh process, by their recipes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.models.recipe import loading_lines
from tuneoff.models.saved import SavedFolder

SCRIPT = Path(__file__).parent / "plain_process.py"


@dataclass(frozen=True)
class Plain:
    """What a saved model says of some texts.

    Attributes:
        alone: logits of each text by itself, float32, shape (texts, classes).
        padded: of all of them as one batch, likewise.
        labels: the classes' names, in the order of the logits.
    """

    alone: NDArray[np.float32]
    padded: NDArray[np.float32]
    labels: list[str]


def plain_answers(
    folders: Sequence[Path], texts: Sequence[Any], bases: Sequence[Path | None] | Path | None = None, threads: int = 1
) -> list[Plain]:
    """What each of some saved models says of the texts (or pairs of them), all in one fresh process.

    Args:
        folders: of saved models.
        texts: the same for all.
        bases: the folders of their base models, or that of all; as they are recorded when left out.
        threads: to compute with.
    """
    bases = bases if isinstance(bases, list | tuple) else [bases] * len(folders)  # type: ignore[list-item]
    jobs = []
    for folder, base in zip(folders, bases, strict=True):
        opened = SavedFolder.open(folder)
        found = opened.base_folder() if base is None else base
        code = loading_lines(opened.saved, str(folder), None if found is None else str(found))
        jobs.append({"code": code, "texts": list(texts)})
    done = subprocess.run(
        [sys.executable, SCRIPT],
        input=json.dumps({"threads": threads, "jobs": jobs}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [
        Plain(np.array(one["alone"], np.float32), np.array(one["padded"], np.float32), one["labels"])
        for one in json.loads(done.stdout.splitlines()[-1])
    ]
