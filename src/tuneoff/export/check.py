"""Checking an exported model: loaded elsewhere, it says of the test texts what the study has stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.core.errors import UserError
from tuneoff.core.files import read_json
from tuneoff.core.texts import counted, shortened
from tuneoff.data.formats.lines import explaining
from tuneoff.export.trained import Trained
from tuneoff.models.architecture import Padding
from tuneoff.models.load import load_config
from tuneoff.models.looking import architecture_of
from tuneoff.models.recipe import loading_lines
from tuneoff.records.export_check import ExportCheck
from tuneoff.spec.data import TASKS
from tuneoff.tasks.base import Answers, Task
from tuneoff.tasks.scores import scores_of

if TYPE_CHECKING:
    from tuneoff.records.saved_model import SavedModel

Floats = NDArray[np.float64]

TEXTS = 2000
"""That are checked, unless told otherwise."""
BATCH = 16
TOLERANCES = {"fp32": 1e-4, "bf16": 0.05}
"""By the precision that a run was scored in: the most that a logit may differ, of the largest stored one, or of 1 where
that is smaller. bfloat16 has 8 bits, and each layer rounds."""
MOST_CHANGED = 0.1
"""Share of the labels that may change where the base model was quantised and is so no more."""
LONGEST_ERROR = 200
SCRIPT = Path(__file__).with_name("fresh_process.py")


def check_export(trained: Trained, saved: SavedModel, folder: Path, most: int | None = TEXTS) -> ExportCheck:
    """Classifies test texts in a fresh process without tuneoff, and compares that with what is stored.

    Args:
        trained: what was exported.
        saved: what the export is.
        folder: where it lies.
        most: texts to check, evenly spread over the test split; all when None.

    Raises:
        UserError: where it does not load, or says something else than the trained model did.
    """
    stored = np.stack(trained.predictions["logits"].to_list()).astype(np.float64)
    rules = trained.opened.saved.texts
    task = TASKS.named(rules.task)(rules)
    truth = task.stored(trained.predictions["label"].to_numpy())
    examples = len(truth)
    rows = np.arange(examples)
    if most is not None and most < examples:
        rows = np.linspace(0, examples - 1, most).round().astype(np.int64)
    base = str(trained.base_folder) if saved.needs_base else None
    config = load_config(folder, stored.shape[1])
    alike = architecture_of(config).padding is Padding.RIGHT
    request = {
        "lines": loading_lines(saved, str(folder), base),
        "texts": _texts(trained.test, rows),
        "batch_size": BATCH if alike else 1,
    }
    logits, told = _in_a_fresh_process(request)
    rebased = trained.opened.saved.quantised and not saved.quantised
    check = _compared(
        task, stored[rows], logits, truth[rows], None if rebased else trained.opened.saved.precision
    ).model_copy(update={"test_texts": examples, "batch_size": request["batch_size"], **told})
    failure = _failure(check, task, stored[rows], logits)
    if failure is not None:
        raise UserError(f"the export was checked and fails, so that nothing was written: {failure}")
    if saved.refit == "all":  # it is as good on these texts as on any that a model was trained on
        return check.model_copy(update=dict.fromkeys(("test_accuracy", "test_macro_f1", "stored_test_accuracy")))
    return check


def _texts(test: Path, rows: NDArray[np.int64]) -> list[Any]:
    import pyarrow.parquet as pq

    with explaining(test):
        names = [name for name in ("text", "text_pair") if name in pq.read_schema(test).names]
        table = pq.read_table(test, columns=names).take(rows)
    texts = table.column("text").to_pylist()
    return list(zip(texts, table.column("text_pair").to_pylist(), strict=True)) if len(names) > 1 else texts


def _in_a_fresh_process(request: dict[str, Any]) -> tuple[Floats, dict[str, Any]]:
    """Logits, shape (texts, classes), and what else the process tells."""
    quiet = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
        "GOMP_SPINCOUNT": "3000",  # threads that wait leave the cores to other programs, as in a study's processes
    }
    with tempfile.TemporaryDirectory(prefix="tuneoff-check-") as name:
        scratch = Path(name)
        (scratch / "task.json").write_text(json.dumps(request), encoding="utf-8")
        # -P keeps the working folder and the script's, where files may be called as libraries are, from being imported.
        done = subprocess.run(
            [sys.executable, "-P", SCRIPT, scratch],
            env={**os.environ, **quiet},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
            raise UserError(
                "the export does not load in a fresh process, so that nothing was written: "
                f"{shortened(said[-1].strip(), LONGEST_ERROR)}"
            )
        return np.load(scratch / "logits.npy").astype(np.float64), read_json(scratch / "told.json")


def _compared(task: Task, stored: Floats, logits: Floats, truth: Answers, precision: str | None) -> ExportCheck:
    if stored.shape != logits.shape:
        raise UserError(
            f"the export was checked and fails, so that nothing was written: it gives {logits.shape[1]} logits a text, "
            f"and the run gave {stored.shape[1]}"
        )
    scale = max(1.0, float(np.abs(stored).max()))
    scores, of_stored = (scores_of(task, truth, task.answers(said)) for said in (logits, stored))
    return ExportCheck(
        texts=len(truth),
        test_texts=len(truth),
        batch_size=1,
        device="",
        tolerance=None if precision is None else TOLERANCES[precision] * scale,
        largest_difference=float(np.nan_to_num(np.abs(stored - logits), nan=np.inf).max()),
        changed_labels=int(_changed(task, stored, logits).sum()),
        test_accuracy=scores["test_accuracy"],
        test_macro_f1=scores["test_macro_f1"],
        stored_test_accuracy=of_stored["test_accuracy"],
        versions={},
    )


def _changed(task: Task, stored: Floats, logits: Floats) -> NDArray[np.bool_]:
    """Which texts are given another label; of numbers none."""
    right = task.correct(task.answers(stored), task.answers(logits))
    return np.zeros(len(stored), dtype=np.bool_) if right is None else ~right


def _failure(check: ExportCheck, task: Task, stored: Floats, logits: Floats) -> str | None:
    """What is wrong; None where nothing is."""
    labels = f"{counted(check.changed_labels, 'label')} of {check.texts:,} changed"
    if check.tolerance is None:
        if check.changed_labels <= MOST_CHANGED * check.texts:
            return None
        return f"{labels} on the unquantised base model ({MOST_CHANGED:.0%} may); use --format model"
    differs = (
        f"logits differ by up to {check.largest_difference:.2g} from the stored ones ({check.tolerance:.2g} may be)"
    )
    if not check.largest_difference <= check.tolerance:
        return f"{differs}, and {labels}"
    if (task.certainty(stored) > check.tolerance)[_changed(task, stored, logits)].any():
        return f"{labels}, also where the stored logits were further apart than {check.tolerance:.2g}"
    return None
