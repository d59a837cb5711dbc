"""The study file, validated and frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import tomli_w
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from tuneoff.core.frozen import Frozen
from tuneoff.core.long_texts import OVER_WINDOWS
from tuneoff.core.names import made_of, meant_by
from tuneoff.core.registry import Registry
from tuneoff.spec.analysis import AnalysisSpec
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.spec.data import TASKS, Data
from tuneoff.spec.objectives import OBJECTIVES, known_objective, one_of
from tuneoff.spec.quantities import Duration, Size
from tuneoff.spec.tracking import TrackingSpec, tracking_table, with_every_tracker

if TYPE_CHECKING:
    from tuneoff.study.executors.base import Executor
    from tuneoff.tasks.base import Task
    from tuneoff.tasks.objectives.base import Objective

MOST_SEEDS = 10_000
HIGHEST_SEED = 2**31 - 1
MOST_AT_A_TIME = 10_000
"""Of runs, or of a run's devices."""


class ModelSpec(Frozen):
    """`[model]`: which pretrained transformer."""

    id: str = Field(min_length=1, description="Hub id, local folder, or package:NAME")
    revision: str | None = Field(default=None, description="branch, tag or commit of a Hub model")


SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-9, 1e9
"""Of a class: losses times these are numbers that float32 holds."""


def _balanced_or_by_class(value: Any) -> Any:
    if isinstance(value, dict):
        for name, weight in value.items():
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not number or not SMALLEST_WEIGHT <= weight <= LARGEST_WEIGHT:
                raise ValueError(
                    f"the weight of a class is a number from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g} (that of "
                    f"'{name}' is {weight!r})"
                )
    elif value != "balanced":
        raise ValueError("write 'balanced', or a table with a weight for each class")
    return value


ClassWeights = Annotated[Literal["balanced"] | dict[str, float], BeforeValidator(_balanced_or_by_class)]


class TrainingSpec(Frozen):
    """`[training]`: the same for every arm."""

    epochs: int = Field(default=3, gt=0, le=100_000)
    batch_size: int = Field(default=16, gt=0, le=1_000_000, description="sequences per optimiser step, exactly")
    precision: Literal["auto", "bf16", "fp32"] = Field(default="auto", description="bf16 where the device has it")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    warmup_ratio: float = Field(default=0.06, ge=0, le=1, description="share of all steps with a rising learning rate")
    weight_decay: float = Field(default=0.01, ge=0, description="not applied to biases and normalisation")
    max_grad_norm: float = Field(default=1.0, gt=0)
    gradient_checkpointing: bool = False
    attention_dropout: bool = Field(
        default=False, description="drop attention weights as the model's configuration says; slower"
    )
    kernels: Literal["auto", "torch"] = Field(
        default="auto",
        description="on CUDA: Tuneoff's own kernels where there are any, or PyTorch's and the libraries' throughout",
    )
    compile: bool = Field(default=False, description="compile the blocks with torch.compile; counted as set-up")
    parallel: Literal["none", "ddp", "fsdp"] = Field(
        default="none",
        description="how a run uses several devices: each has all weights (ddp), or a share of them (fsdp)",
    )
    class_weights: ClassWeights | None = Field(
        default=None, description="balanced, by the training examples of each class, or a weight above 0 for each class"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of each label that is given to all classes evenly"
    )
    thresholds: Literal["chosen", "half"] = Field(
        default="chosen",
        description="of several labels, or two classes where the objective is not accuracy: from what probability a "
        "label is answered, chosen on validation, or a half",
    )
    select: Literal["last", "best"] = Field(
        default="last", description="which epoch's weights are tested: the last, or the best on validation"
    )
    patience: int | None = Field(
        default=None, ge=1, description="with select = 'best': evaluations without a better one that end a run"
    )
    auto_batch: bool = Field(
        default=False, description="after running out of memory, try again with gradients accumulated over half-batches"
    )

    def chooses_thresholds(self, task: type[Task], objective: type[Objective], outputs: int) -> bool:
        """Whether answers hang on thresholds, of a task, an objective, and models with so many outputs."""
        return self.thresholds == "chosen" and task.has_thresholds(objective, outputs)

    @model_validator(mode="after")
    def _patience_selects(self) -> TrainingSpec:
        if self.patience is not None and self.select != "best":
            raise ValueError("patience needs select = 'best'")
        return self

    @model_validator(mode="after")
    def _compile_stands_alone(self) -> TrainingSpec:
        for other in ("gradient_checkpointing", "attention_dropout"):
            if self.compile and getattr(self, other):
                raise ValueError(f"compile and {other} cannot be used together")
        if self.compile and self.parallel == "fsdp":
            raise ValueError("compile and parallel = 'fsdp' cannot be used together; use 'ddp'")
        return self


MOST_OF_A_GRID = 15
"""Rates that are √10 apart."""


class TuningSpec(Frozen):
    """`[tuning]`: how each arm that names no learning rate looks for one, on validation."""

    trials: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="rates tried for each arm, then beyond an edge, then beside the best; 1: the starting rate",
    )
    strategy: Literal["grid", "optuna"] = Field(default="grid", description="around the starting rate, or Optuna's TPE")
    seeds: int = Field(default=1, ge=1, description="trials are run with so many of the study's seeds")

    @model_validator(mode="after")
    def _a_grid_has_an_end(self) -> TuningSpec:
        if self.strategy == "grid" and self.trials > MOST_OF_A_GRID:
            raise ValueError(
                f"a grid has at most {MOST_OF_A_GRID} trials, over seven decades; take strategy = 'optuna' for more"
            )
        return self


EXECUTORS: Registry[Executor] = Registry("tuneoff.study.executors", "tuneoff.study.executors.base.Executor", "executor")


def _known_executor(name: str) -> str:
    EXECUTORS.named(name)
    return name


class ExecutionSpec(Frozen):
    """`[execution]`: where and how runs are carried out.

    What of it changes the bits of a result is in the ids of runs: the devices of a run and, on a CPU, its cores, which
    are shared out by `workers` where they are not named (`tuneoff.runs.allocation`). The rest names no run.
    """

    executor: Annotated[str, AfterValidator(_known_executor)] = "local"
    workers: int | Literal["auto"] = Field(
        default="auto",
        description="runs at a time; auto: as many as fit on each GPU, one on a CPU; with ray: as many as fit",
    )
    cores: int | None = Field(
        default=None, gt=0, le=10_000, description="processor cores of a run; all over the workers, if left out"
    )
    devices_per_run: int | Literal["auto"] = Field(
        default="auto",
        description="with training.parallel: GPUs of a run, all that are there if auto; or processes on CPUs",
    )
    checkpoint_every: Duration | int | Literal["epoch"] = Field(
        default="5m", description="a duration, a number of steps, or epoch; a run that was cut short goes on from there"
    )
    max_run_time: Duration | None = Field(default=None, description="a run's process is ended after this time")
    max_memory: Size | None = Field(
        default=None, description="of a run: allocated on a GPU, resident on a CPU (libraries included)"
    )
    fail_fast: bool = Field(default=False, description="stop the study at the first run that fails")

    @property
    def devices(self) -> int:
        """Devices that a run is to have; with `auto` that is known where it computes (`tuneoff.runs.allocation`)."""
        return 1 if self.devices_per_run == "auto" else self.devices_per_run

    @field_validator("workers", "devices_per_run")
    @classmethod
    def _at_least_one(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("at least one is needed")
        if isinstance(value, int) and value > MOST_AT_A_TIME:
            raise ValueError(f"more than {MOST_AT_A_TIME:,} are not possible")
        return value

    @field_validator("checkpoint_every")
    @classmethod
    def _positive_steps(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 1:
            raise ValueError("write a duration such as 5m, a number of steps, or epoch")
        return value


def _known_method(value: Any) -> Any:
    if isinstance(value, ArmSpec):
        return value
    if not isinstance(value, dict) or "method" not in value:
        raise ValueError(f"an arm needs a method{meant_by('method', value if isinstance(value, dict) else ())}")
    if not isinstance(value["method"], str):
        raise ValueError("a method is named by a word")
    return METHODS.named(value["method"]).model_validate(value)


Arm = Annotated[SerializeAsAny[ArmSpec], BeforeValidator(_known_method)]


class StudySpec(Frozen):
    """One comparison: a model, a dataset, arms and seeds."""

    name: Annotated[
        str, made_of(r"[A-Za-z0-9][A-Za-z0-9._-]*", "letters, digits, '.', '_' and '-', a letter or digit first")
    ]
    seeds: tuple[int, ...] = Field(min_length=1, description="a number of seeds (0, 1, ...) or a list of them")
    objective: Annotated[str, AfterValidator(known_objective)] = Field(
        default="accuracy",
        description="the metric that tuning, comparison and recommendation go by; left out, that of data.task: "
        "accuracy, micro_f1 or r2",
    )
    keep_models: bool = Field(default=True, description="keep each run's trained weights in its folder")
    model: ModelSpec
    data: Data
    training: TrainingSpec = TrainingSpec()
    tuning: TuningSpec = TuningSpec()
    execution: ExecutionSpec = ExecutionSpec()
    analysis: AnalysisSpec = AnalysisSpec()
    tracking: Annotated[SerializeAsAny[TrackingSpec], BeforeValidator(with_every_tracker)] = Field(
        default_factory=lambda: tracking_table()()
    )
    arms: tuple[Arm, ...] = Field(min_length=1)

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 1:
                raise ValueError("at least one seed is needed")
            if value > MOST_SEEDS:
                raise ValueError(f"more than {MOST_SEEDS:,} seeds are not possible")
            return tuple(range(value))
        return value

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value) or min(value) < 0:
            raise ValueError("seeds must be distinct and not negative")
        if max(value) > HIGHEST_SEED or len(value) > MOST_SEEDS:
            raise ValueError(f"seeds go up to {HIGHEST_SEED:,}, and there may be {MOST_SEEDS:,} of them")
        return value

    @model_validator(mode="before")
    @classmethod
    def _objective_of_the_task(cls, value: Any) -> Any:
        """Puts in the task's own objective where none is named."""
        data = value.get("data") if isinstance(value, dict) else None
        task = data.get("task") if isinstance(data, dict) else getattr(data, "task", None)
        if isinstance(task, str) and task in TASKS.classes():
            return {"objective": TASKS.named(task).objective, **value}
        return value

    @model_validator(mode="after")
    def _all_suits_the_task(self) -> StudySpec:
        task, kind = self.data.task, TASKS.named(self.data.task).kind
        suited = [name for name, objective in OBJECTIVES.classes().items() if kind in objective.kinds]
        if self.objective not in suited:
            raise ValueError(
                f"objective = '{self.objective}' is not for data.task = '{task}'; for that {one_of(suited)}"
            )
        if kind == "class":
            return self
        for name in ("class_weights", "label_smoothing"):
            if getattr(self.training, name):
                raise ValueError(f"training.{name} is for one class an example, and not for data.task = '{task}'")
        if self.analysis.min_accuracy is not None and kind == "number":
            raise ValueError(f"analysis.min_accuracy: there is no accuracy with data.task = '{task}'; leave it out")
        fitted = [arm.name for arm in self.arms if arm.fitted]
        if fitted:
            raise ValueError(f"arms.{fitted[0]}: {fitted[0]} fits one class an example, and no data.task = '{task}'")
        return self

    @model_validator(mode="after")
    def _fitted_heads_see_means(self) -> StudySpec:
        for arm in self.arms:
            if arm.fitted and OVER_WINDOWS.get(arm.long_texts or self.data.long_texts) == "max":
                raise ValueError(
                    f"arms.{arm.name}: {arm.method} fits its head to the mean of a text's windows; give it "
                    "long_texts = 'windows'"
                )
        return self

    @model_validator(mode="after")
    def _several_devices_work_in_parallel(self) -> StudySpec:
        if self.execution.devices > 1 and self.training.parallel == "none":
            raise ValueError("execution.devices_per_run above 1 needs training.parallel = 'ddp' or 'fsdp'")
        return self

    @model_validator(mode="after")
    def _tuning_seeds_are_seeds(self) -> StudySpec:
        if self.tuning.seeds > len(self.seeds):
            have = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
            raise ValueError(f"tuning.seeds = {self.tuning.seeds}, but the study has {have}")
        return self

    @field_validator("arms")
    @classmethod
    def _distinct_names(cls, value: tuple[ArmSpec, ...]) -> tuple[ArmSpec, ...]:
        names = [arm.name for arm in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two arms are called '{name}'; give each a name of its own")
        return value

    @property
    def metric(self) -> str:
        """What people call the objective, in the middle of a sentence."""
        return OBJECTIVES.named(self.objective).label

    def chosen_for(self, outputs: int) -> type[Objective] | None:
        """The objective that thresholds are chosen for; None where answers have none.

        Args:
            outputs: of a model of this study.
        """
        objective = OBJECTIVES.named(self.objective)
        chosen = self.training.chooses_thresholds(TASKS.named(self.data.task), objective, outputs)
        return objective if chosen else None

    def baselines_for(self, outputs: int) -> type[Objective] | None:
        """The objective where what is said of baselines hangs on it: by thresholds, or as it judges probabilities."""
        objective = OBJECTIVES.named(self.objective)
        return objective if objective.of == "probabilities" else self.chosen_for(outputs)

    def to_toml(self) -> str:
        """The study with every default written out, as TOML that `load_study` reads back to an equal spec."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
