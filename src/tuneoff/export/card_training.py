"""What a model's card says of its training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneoff.core.texts import counted
from tuneoff.report import audit
from tuneoff.study.tuning import tuned_arms

if TYPE_CHECKING:
    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.refit import Refit
    from tuneoff.records.run import ScoredRun
    from tuneoff.records.saved_model import SavedModel
    from tuneoff.spec import TrainingSpec
    from tuneoff.spec.arms import ArmSpec


def how_it_was_trained(
    results: StudyResults, scored: ScoredArm, arm: ArmSpec, run: ScoredRun, saved: SavedModel, refit: Refit | None
) -> list[str]:
    """The method with its options, how its rate was found, what training makes small, and what it was computed on."""
    spec, training = results.spec, results.spec.training
    options = {
        name: value
        for name, value in arm.model_dump(mode="json").items()
        if name not in ("method", "name", "learning_rate", "learning_rate_range") and value not in ([], None, "")
    }
    set_to = ", ".join(f"{name} = {value}" for name, value in options.items())
    conditions = refit.conditions if refit is not None else run.conditions
    lines = [
        f"{audit.plain(saved.method)}: {audit.plain(type(arm).reference)}"
        + (f"; {audit.plain(set_to)}" if set_to else ""),
        f"Trainable parameters: {scored.trainable_parameters:,} of {scored.parameters.total:,}.",
    ]
    if not arm.fitted:
        found = (
            "found on validation"
            if arm.name in tuned_arms(spec)
            else "as the study names it"
            if arm.learning_rate is not None
            else "where the search for one would begin; it was not tuned"
        )
        lines += [
            f"Learning rate {run.learning_rate:g}, {found}; {counted(training.epochs, 'epoch')}, batches of "
            f"{training.batch_size}, warm-up over {100 * training.warmup_ratio:g}% of the steps, weight decay "
            f"{training.weight_decay:g}, gradients clipped at {training.max_grad_norm:g}.",
            *_objective(training),
        ]
        if training.select == "best":
            lines.append(f"The weights are those after epoch {run.selected.epoch}, the best on validation.")
    lines.append(
        f"Seed {run.seed}, computed in {conditions.precision} on {audit.plain(conditions.device)}, with "
        + audit.plain(", ".join(f"{name} {version}" for name, version in conditions.versions.items()))
        + "."
    )
    return lines


def _objective(training: TrainingSpec) -> list[str]:
    """What training makes small, where that is no plain cross-entropy."""
    told = []
    if training.class_weights == "balanced":
        told.append("Classes are weighted so that each has the same say in training.")
    elif training.class_weights is not None:
        weights = [f"{weight:g} for {name}" for name, weight in training.class_weights.items()]
        told.append(f"Weights of classes in training: {audit.plain(', '.join(weights))}.")
    if training.label_smoothing:
        told.append(f"Labels are smoothed by {training.label_smoothing:g}.")
    return told
