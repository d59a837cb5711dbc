"""What a run's process is told, made from a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.models.load import PACKAGE_PREFIX
from tuneoff.models.saved import path_from
from tuneoff.records.saved_model import BaseModel, TextRules
from tuneoff.runs.files import MODEL
from tuneoff.runs.task import RunTask

if TYPE_CHECKING:
    from tuneoff.records.prepared import Prepared
    from tuneoff.records.saved_model import RefitRows
    from tuneoff.runs.allocation import Allocation
    from tuneoff.runs.run import Run
    from tuneoff.study.pins import Pinned


def make_task(
    run: Run,
    pinned: Pinned,
    prepared: Prepared,
    allocation: Allocation,
    model_folder: Path,
    data_folder: Path,
    run_folder: Path,
    refit: RefitRows | None = None,
) -> RunTask:
    """What the process of a run is told.

    Args:
        run: to be carried out.
        pinned: the study.
        prepared: what is known of its data.
        allocation: what the run computes on.
        model_folder: of the pretrained model.
        data_folder: that holds the splits of the run's part.
        run_folder: of its files, with its model in them.
        refit: what it is trained on where it is no run of the study; the model is kept then.
    """
    spec, on_hub = pinned.spec, pinned.pins.get("model")
    model_folder, run_folder = model_folder.resolve(), run_folder.resolve()
    in_package = spec.model.id.startswith(PACKAGE_PREFIX)
    return RunTask(
        run=run,
        training=allocation.resolve(spec.training),
        execution=spec.execution,
        model_folder=model_folder,
        data_folder=data_folder.resolve(),
        run_folder=run_folder,
        pad_token_id=prepared.pad_token_id,
        keep_model=spec.keep_models or refit is not None,
        study=spec.name,
        base=BaseModel(
            id=on_hub.id if on_hub else spec.model.id if in_package else model_folder.name,
            revision=on_hub.commit if on_hub else None,
            fingerprint=prepared.model_fingerprint,
            path=None if on_hub or in_package else path_from(run_folder / MODEL, model_folder),
        ),
        texts=TextRules(
            task=spec.data.task,
            label_names=prepared.label_names,
            scale=prepared.scale,
            max_length=spec.data.max_length + run.arm.virtual_tokens,
            long_texts=run.arm.long_texts or spec.data.long_texts,
            text=spec.data.text or prepared.text,
            text_pair=spec.data.text_pair or prepared.text_pair,
        ),
        allocation=allocation,
        objective=spec.objective,
        refit=refit,
    )
