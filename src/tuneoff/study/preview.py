"""What a study would do, found out on the meta device: no weights, no training, nothing written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.core.names import did_you_mean
from tuneoff.core.texts import in_line
from tuneoff.data.audit import stop_on_errors
from tuneoff.data.parts import overall
from tuneoff.data.prepare import audited, check_rules, cutting_tokenizer, rules_of
from tuneoff.models.architecture import Pooling
from tuneoff.models.load import load_config, load_tokenizer, longest_input, resolve_model
from tuneoff.models.looking import architecture_of
from tuneoff.models.virtual_tokens import place_in_texts
from tuneoff.records.measurements import ParameterCounts
from tuneoff.records.outline import OutlinedArm, OutlinedPart, OutlinedTrials, StudyOutline
from tuneoff.records.saved_model import TextRules
from tuneoff.spec.data import TASKS
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.study.pins import pin_to_commits
from tuneoff.study.rates import at_starting_rates
from tuneoff.study.search import MOST_EXTENSIONS, trial_steps, usual_trials
from tuneoff.study.tuning import tuned_arms
from tuneoff.tasks.losses import balanced
from tuneoff.training.loop import total_steps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuneoff.data.splits import Splits
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import StudySpec

MOST_NAMED = 6
"""Of the classes that a message is about."""


def outline_study(spec: StudySpec, say: Callable[[str], None] = lambda _: None) -> StudyOutline:
    """The content of `tuneoff plan`: arms with their parameter counts, sizes of the splits, runs, steps.

    Args:
        spec: the study.
        say: told what is fetched from the Hub.

    Raises:
        UserError: where the study could not be carried out.
    """
    with hub.telling(say):
        return _outline(pin_to_commits(spec, None, say).spec)


def _outline(spec: StudySpec) -> StudyOutline:
    model_folder = resolve_model(spec.model.id, spec.model.revision)
    with audited(spec.data, lambda _: None) as (parts, findings):
        stop_on_errors(findings)
    label_names = next(iter(parts.values())).label_names
    check_class_weights(spec, label_names)
    num_labels = len(label_names)
    check_rules(rules_of(spec), next(iter(parts.values())).rows.columns.text_pair)
    _, pad_token_id = cutting_tokenizer(spec, model_folder, num_labels)
    counts = check_arms(spec, model_folder, num_labels, pad_token_id)
    sizes = {part: splits.sizes for part, splits in parts.items()}
    steps = {part: total_steps(size["train"], spec.training) for part, size in sizes.items()}
    runs_a_part = len(spec.arms) * len(spec.seeds)
    tuned = tuned_arms(spec)
    on_grid = spec.tuning.strategy == "grid"
    of_each = len(tuned) * len(spec.seeds[: spec.tuning.seeds])
    tried = usual_trials(spec.tuning) * of_each
    width = architecture_of(load_config(model_folder, num_labels, pad_token_id)).width
    arms = at_starting_rates(spec.arms, width, next(iter(steps.values())))
    return StudyOutline(
        study=spec.name,
        model=spec.model.id,
        sizes=overall(spec.data, sizes),
        seeds=spec.seeds,
        runs=runs_a_part * len(parts),
        steps_per_run=next(iter(steps.values())),
        steps=runs_a_part * sum(steps.values()),
        trials=OutlinedTrials(
            runs=tried * len(parts),
            steps=tried * sum(map(trial_steps, steps.values())),
            extensions=MOST_EXTENSIONS * of_each * len(parts) if on_grid else 0,
        ),
        parts=tuple(
            OutlinedPart(
                part=part,
                sizes=sizes[part],
                steps_per_run=steps[part],
                class_weights=_class_weights(spec, splits),
            )
            for part, splits in parts.items()
        ),
        arms=tuple(
            OutlinedArm(
                arm=arm.name,
                method=arm.method,
                learning_rate=arm.rate,
                tuned=arm.name in tuned,
                parameters=counts[arm.name],
            )
            for arm in arms
        ),
        example_unit=_example_unit(spec, parts),
    )


def _example_unit(spec: StudySpec, parts: Mapping[str, Splits]) -> float:
    """How far a test example moves the objective, by the labels of all that are tested."""
    tested = list(parts.values()) if spec.data.folds is not None else [next(iter(parts.values()))]
    rows = tested[0].rows
    rules = TextRules(task=spec.data.task, label_names=rows.label_names, max_length=spec.data.max_length)
    truth = TASKS.named(spec.data.task)(rules, rows.label_table).truth(
        np.concatenate([splits.labels("test") for splits in tested])
    )
    return OBJECTIVES.named(spec.objective).unit_ahead(truth, len(rows.label_names))


def _class_weights(spec: StudySpec, splits: Splits) -> dict[str, float] | None:
    names, weights = splits.label_names, spec.training.class_weights
    if weights != "balanced":
        return weights
    return dict(zip(names, balanced(np.bincount(splits.labels("train"), minlength=len(names))), strict=True))


def check_class_weights(spec: StudySpec, label_names: Sequence[str]) -> None:
    """Makes sure that each class of the data has a weight, where a study names weights, and nothing else has.

    Raises:
        UserError: where it is otherwise.
    """
    weights = spec.training.class_weights
    if weights is None or weights == "balanced":
        return
    for name in weights:
        if name not in label_names:
            raise UserError(f"training.class_weights: there is no class '{name}'{did_you_mean(name, label_names)}")
    left_out = [f"'{name}'" for name in label_names if name not in weights]
    if left_out:
        raise UserError(
            f"training.class_weights leaves out {in_line(left_out[:MOST_NAMED])}"
            f"{f' and {len(left_out) - MOST_NAMED} more' if len(left_out) > MOST_NAMED else ''}; "
            "give each class a weight, or write 'balanced'"
        )


def check_arms(spec: StudySpec, model_folder: Path, num_labels: int, pad_token_id: int) -> dict[str, ParameterCounts]:
    """Tries every arm on the model's outline, and, where it computes here, the device and precision asked for.

    Returns:
        Parameter counts by arm.

    Raises:
        UserError: where an arm does not fit the model, or the device or its precision is not there.
    """
    from tuneoff.models.count import parameter_counts
    from tuneoff.models.hide import bitsandbytes_hidden
    from tuneoff.models.load import outline
    from tuneoff.models.quantised import check_stored_precision
    from tuneoff.spec.schema import EXECUTORS
    from tuneoff.training.device import choose_device, choose_precision

    if EXECUTORS.named(spec.execution.executor).computes_here:
        choose_precision(spec.training, choose_device(spec.training))
    counts = {}
    for arm in spec.arms:
        config = load_config(model_folder, num_labels, pad_token_id)
        loaded = outline(config, model_folder)
        try:
            check_stored_precision(config, arm.quantization)
            if arm.quantised and spec.training.parallel == "fsdp":
                raise UserError("training.parallel = 'fsdp' cannot share out quantised weights; use 'ddp'")
            if (arm.virtual_tokens or arm.reads_texts or arm.takes_part_in_steps) and spec.training.parallel == "fsdp":
                raise UserError(f"training.parallel = 'fsdp' cannot train {arm.method}; use 'ddp'")
            if spec.training.gradient_checkpointing and not loaded.model.supports_gradient_checkpointing:
                raise UserError(
                    f"training.gradient_checkpointing: transformers has none for '{config.model_type}'; leave it out"
                )
            with bitsandbytes_hidden():  # nothing is quantised here, and its import would initialise CUDA
                adapted = arm.adapt(loaded)
            if arm.virtual_tokens:
                _check_room(arm.virtual_tokens, spec.data.max_length, loaded, load_tokenizer(model_folder))
            counts[arm.name] = ParameterCounts(**parameter_counts(adapted, loaded))
        except UserError as error:
            raise UserError(f"arm '{arm.name}': {error}") from error
    return counts


def _check_room(count: int, max_length: int, loaded: LoadedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuses virtual tokens that a model has no room for, or that would stand where its head reads."""
    limit = longest_input(loaded.architecture.config, tokenizer)
    if max_length + count > limit:
        shorter = f"set data.max_length = {limit - count} at most, or " if limit - count > 1 else ""
        raise UserError(
            f"data.max_length = {max_length} and {count} virtual tokens are more than the {limit} tokens that this "
            f"model takes; {shorter}take fewer num_virtual_tokens"
        )
    if loaded.architecture.pooling is Pooling.FIRST and place_in_texts(tokenizer) == 0:
        raise UserError(
            "the head reads a text's first token, which would be a virtual one: the tokenizer starts texts with no "
            "token of its own"
        )
