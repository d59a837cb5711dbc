"""One measurement: a model that is trained in one engine, Tuneoff's or `Trainer`; of `vs_trainer.py` in a process."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import StudySpec, TrainingSpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.prepare import PreparedStudy
    from tuneoff.tasks.base import Task

    Predict = Callable[[], NDArray[np.float32]]
    """Logits of the test split, shape (examples, outputs)."""

CHECKPOINTING, GROUPED, COMPILED = "-checkpointing", "-grouped", "-compiled"
"""What the names of engines say of their settings."""


@dataclass(frozen=True)
class Work:
    """One measurement: an arm of a study in one engine with one seed."""

    spec: StudySpec
    prepared: PreparedStudy
    engine: str
    arm: ArmSpec
    seed: int
    steps: int | None


@dataclass(frozen=True)
class Measured:
    """What one process found. Rates leave out the first fourth of the steps; memory does not."""

    engine: str
    arm: str
    method: str
    seed: int
    steps: int
    examples_per_second: float
    tokens_per_second: float
    peak_memory_bytes: int
    setup_seconds: float
    matrix_parameters: int
    test_score: float | None
    how: dict[str, Any]


class StepClock:
    """Reads the clock before the first step, after the warm-up and after the last step, and waits for the device."""

    def __init__(self, device: torch.device, warm_up: int, total: int) -> None:
        self.device = device
        self.created = time.perf_counter()
        self.marks: list[float] = []
        self._when = (0, warm_up, total)
        self._done = 0

    def begin(self) -> None:
        """The first step begins."""
        self._mark()

    def step(self) -> None:
        """A step has been queued."""
        self._done += 1
        if self._done in self._when:
            self._mark()

    def _mark(self) -> None:
        wait_for(self.device)
        self.marks.append(time.perf_counter())


def wait_for(device: torch.device) -> None:
    """Waits until the device has done all that is queued."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(work: Work) -> Measured:
    """Trains in one engine, in this process."""
    import torch

    from tuneoff.data.prepared import load_targets, load_tokens
    from tuneoff.models.load import load_classifier, load_config
    from tuneoff.models.quantised import quantisation_of
    from tuneoff.records.saved_model import TextRules
    from tuneoff.spec.data import TASKS
    from tuneoff.spec.objectives import OBJECTIVES
    from tuneoff.training.device import choose_device, choose_precision
    from tuneoff.training.order import epoch_batches

    prepared = work.prepared.prepared
    training = with_settings(work.spec.training, work.engine)
    device = choose_device(training)
    precision = choose_precision(training, device)
    config = load_config(work.prepared.model_folder, len(prepared.label_names), prepared.pad_token_id)
    quantised = quantisation_of(work.arm.quantization, precision)
    loaded = load_classifier(work.prepared.model_folder, config, work.seed, device, quantised)
    blocks = loaded.architecture.blocks_of(loaded.model)
    matrix_parameters = sum(p.numel() for block in blocks for p in block.parameters() if p.dim() > 1)
    torch.manual_seed(work.seed)
    model = work.arm.adapt(loaded)
    tokens = load_tokens(work.prepared.data_folder, work.spec.data.long_texts)
    data = work.spec.data
    task = TASKS.named(data.task)(
        TextRules(
            task=data.task,
            label_names=prepared.label_names,
            scale=prepared.scale,
            max_length=data.max_length,
            text="text",
        ),
        load_targets(work.prepared.data_folder),
    )
    all_batches = [
        rows
        for epoch in range(training.epochs)
        for rows in epoch_batches(
            tokens["train"].lengths, training.batch_size, work.seed, epoch, bucketed=GROUPED in work.engine
        )
    ]
    batches = all_batches[: work.steps]
    warm_up = max(1, len(batches) // 4)
    job = Job(
        model,
        loaded,
        training,
        device,
        precision,
        work.arm,
        task,
        work.seed,
        tokens,
        all_batches,
        batches,
        warm_up,
    )

    def score(logits: NDArray[np.float32]) -> float:
        objective = OBJECTIVES.named(work.spec.objective)
        return objective.value(task.truth(tokens["test"].labels), task.judged(objective, logits))

    trained = train(work.engine, job)
    return Measured(
        engine=work.engine,
        arm=work.arm.name,
        method=work.arm.method,
        seed=work.seed,
        steps=len(batches),
        examples_per_second=trained.examples_per_second,
        tokens_per_second=trained.tokens_per_second,
        peak_memory_bytes=trained.peak_memory_bytes,
        setup_seconds=trained.setup_seconds,
        matrix_parameters=matrix_parameters,
        test_score=score(trained.predict()) if work.steps is None else None,
        how=trained.how,
    )


def with_settings(training: TrainingSpec, engine: str) -> TrainingSpec:
    """A study's settings with those that the engine's name asks for."""
    settings = {"gradient_checkpointing": CHECKPOINTING in engine}
    if engine.startswith("trainer"):
        settings["compile"] = COMPILED in engine
    return training.model_copy(update=settings)


@dataclass(frozen=True)
class Job:
    """What both engines are given: all batches of the run, and those that are trained on, the first few to warm up."""

    model: torch.nn.Module
    loaded: LoadedModel
    training: TrainingSpec
    device: torch.device
    precision: torch.dtype
    arm: ArmSpec
    task: Task
    seed: int
    tokens: dict[str, Tokens]
    all_batches: list[NDArray[np.int64]]
    batches: list[NDArray[np.int64]]
    warm_up: int


@dataclass(frozen=True)
class Trained:
    """What came of a job. Rates leave out the warm-up; memory does not."""

    examples_per_second: float
    tokens_per_second: float
    peak_memory_bytes: int
    setup_seconds: float
    how: dict[str, Any]
    predict: Predict


def train(engine: str, job: Job) -> Trained:
    """Trains the job's batches in one engine, whose name says its settings."""
    from tuneoff.measure.memory import peak_memory

    clock = StepClock(job.device, job.warm_up, len(job.batches))
    memory = peak_memory(job.device)
    memory.reset()
    how, predict = (_with_tuneoff if engine.startswith("tuneoff") else _with_trainer)(job, clock)
    peak = memory.peak_bytes()
    began, warm, ended = clock.marks
    timed = np.concatenate(job.batches[job.warm_up :])
    return Trained(
        examples_per_second=len(timed) / (ended - warm),
        tokens_per_second=int(job.tokens["train"].lengths[timed].sum()) / (ended - warm),
        peak_memory_bytes=peak,
        setup_seconds=began - clock.created,
        how=how,
        predict=predict,
    )


def _with_tuneoff(job: Job, clock: StepClock) -> tuple[dict[str, Any], Predict]:
    from tuneoff.measure.environment import usable_cores
    from tuneoff.training.cpu import settle_on_cpu
    from tuneoff.training.engines.choose import make_engine
    from tuneoff.training.optim.adamw import learning_rates

    if job.device.type == "cpu":
        settle_on_cpu(usable_cores())
    loss = job.task.loss(job.training, job.tokens["train"].labels)
    engine = make_engine(job.model, job.loaded, job.training, job.device, job.precision, arm=job.arm, loss=loss)
    engine.prepare(job.tokens["train"], job.all_batches)  # as in a study, so that buffers are of the same sizes
    rates = learning_rates(job.arm.rate, len(job.batches), job.training.warmup_ratio)
    clock.begin()
    for _ in engine.steps(job.tokens["train"], list(zip(job.batches, rates, strict=True))):
        clock.step()
    return engine.describe(), lambda: engine.logits(job.tokens["test"])


def _with_trainer(job: Job, clock: StepClock) -> tuple[dict[str, Any], Predict]:
    """`Trainer` as people use it: autocast over float32 weights, dynamic padding, fused AdamW, linear schedule."""
    import torch
    from torch.utils.data import Dataset, SequentialSampler
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    # What Tuneoff's loss looks up by code: labels as 0 and 1, or numbers in standard deviations from their mean.
    targets = job.task.loss(job.training, job.tokens["train"].labels).table
    job.loaded.model.config.problem_type = job.task.problem_type

    class Sequences(Dataset[dict[str, Any]]):
        def __init__(self, tokens: Tokens, rows: NDArray[np.int64]) -> None:
            self.tokens, self.rows = tokens, rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            row = self.rows[index]
            start, end = self.tokens.offsets[row : row + 2]
            code = self.tokens.labels[row]
            label = int(code) if targets is None else targets[code]
            return {"input_ids": self.tokens.ids[start:end].astype(np.int64), "labels": label}

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(example["input_ids"]) for example in examples)
        ids = np.full((len(examples), longest), job.loaded.model.config.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, example in enumerate(examples):
            ids[row, : len(example["input_ids"])] = example["input_ids"]
            mask[row, : len(example["input_ids"])] = 1
        labels = torch.from_numpy(np.array([example["labels"] for example in examples]))
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}

    class InOrder(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    class Clocked(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step == 0:
                clock.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

    with tempfile.TemporaryDirectory() as scratch:
        trainer = InOrder(
            model=job.model,
            args=TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=job.training.batch_size,
                per_device_eval_batch_size=64,
                max_steps=len(job.batches),
                learning_rate=job.arm.rate,
                warmup_steps=math.ceil(len(job.batches) * job.training.warmup_ratio),
                weight_decay=job.training.weight_decay,
                max_grad_norm=job.training.max_grad_norm,
                bf16=job.precision == torch.bfloat16,
                use_cpu=job.device.type == "cpu",
                optim="adamw_torch_fused",
                gradient_checkpointing=job.training.gradient_checkpointing,
                torch_compile=job.training.compile,
                gradient_checkpointing_kwargs={"use_reentrant": False},
                dataloader_pin_memory=job.device.type == "cuda",
                logging_strategy="no",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                seed=job.seed,
            ),
            train_dataset=Sequences(job.tokens["train"], np.concatenate(job.batches)),
            data_collator=collate,
            callbacks=[Clocked()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()

    def predict() -> NDArray[np.float32]:
        test = job.tokens["test"]
        by_length = np.argsort(test.lengths, kind="stable")
        given = trainer.predict(Sequences(test, by_length)).predictions
        logits = np.empty_like(given)
        logits[by_length] = given
        return logits

    return {"batches": "dynamic padding"}, predict
