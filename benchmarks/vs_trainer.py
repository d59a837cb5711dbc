"""Tuneoff's engine against `transformers.Trainer`: the same model, data, batches, precision and settings.

    python benchmarks/vs_trainer.py                                     the quickstart, a few steps an arm
    python benchmarks/vs_trainer.py STUDY --set training.batch_size=60  any study, shipped or a file
    python benchmarks/vs_trainer.py STUDY --accuracy                    all steps, and the test accuracy of each seed

Every measurement has a fresh process of its own. Engines take turns, arm by arm and repeat by repeat; a repeat's
number is its seed. benchmarks/README.md says what is counted and how to read the table.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from tuneoff.data.tokens import Tokens
    from tuneoff.models.load import LoadedModel
    from tuneoff.spec import StudySpec, TrainingSpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.prepare import PreparedStudy

    Predict = Callable[[], NDArray[np.int64]]

CHECKPOINTING = "-checkpointing"
ENGINES = ("tuneoff", "tuneoff-checkpointing", "trainer", "trainer-checkpointing")


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
    test_accuracy: float | None
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


def main() -> None:
    """Measures every arm in every engine, prints the table and writes the JSON."""
    arguments = _arguments()
    from tuneoff.core.files import write_json
    from tuneoff.data.parts import WHOLE
    from tuneoff.measure.environment import environment
    from tuneoff.spec import load_study
    from tuneoff.study.prepare import prepare_study
    from tuneoff.study.rates import at_starting_rates
    from tuneoff.training.loop import total_steps

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tuneoff.runs.preload"])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        overrides = list(arguments.set)
        if arguments.random_weights:
            overrides.append(f"model.id={with_random_weights(arguments.random_weights, scratch / 'model')}")
        spec = load_study(arguments.study, overrides)
        prepared = prepare_study(spec, scratch, print)
        prepared.save()
        device, rate = _in_process(context, _matrix_rate, spec.training)
        print(f"{device}; a large bf16 matrix product: {rate / 1e12:.2f} TFLOP/s", flush=True)
        steps = None if arguments.accuracy else arguments.steps
        steps_of_a_run = total_steps(prepared.prepared.part(WHOLE).sizes["train"], spec.training)
        settled = at_starting_rates(spec.arms, prepared.prepared.model_width, steps_of_a_run)
        arms = [arm for arm in settled if not arguments.arms or arm.name in arguments.arms]
        for engine in arguments.engines:  # fills the disk cache with libraries and kernels; not counted
            _in_process(context, _measure, Work(spec, prepared, engine, arms[0], 0, 4))
        measured: list[Measured] = []
        for seed in range(arguments.repeats):
            for arm in arms:
                for engine in arguments.engines:
                    work = Work(spec, prepared, engine, arm, seed, steps)
                    measured.append(_in_process(context, _measure, work))
                    print(json.dumps(asdict(measured[-1])), flush=True)
                    if arguments.json:
                        found = {
                            "study": spec.model_dump(mode="json"),
                            "device": device,
                            "environment": environment().model_dump(mode="json"),
                            "date": time.strftime("%Y-%m-%d"),
                            "matrix_flops_per_second": rate,
                            "summary": _summarise(measured, rate),
                            "measured": [asdict(one) for one in measured],
                        }
                        write_json(arguments.json, found)
        print(_markdown(_summarise(measured, rate)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="quickstart", help="a study file or a shipped study's name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a field of the study")
    parser.add_argument("--arms", nargs="+", help="arms to measure; all when left out")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=["tuneoff", "trainer"])
    parser.add_argument("--steps", type=int, default=12, help="optimiser steps a measurement, at least 4")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--accuracy", action="store_true", help="train to the end and score the test split")
    parser.add_argument(
        "--random-weights", type=Path, metavar="DIR", help="a model folder without weights: draw some, to measure cost"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    return parser.parse_args()


def with_random_weights(folder: Path, out: Path) -> Path:
    """A copy of a model folder that lacks weights, with random ones."""
    import torch
    from transformers import AutoConfig, AutoModel

    shutil.copytree(folder, out)
    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(out)
    return out


def _in_process(context: Any, function: Any, argument: Any) -> Any:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, argument))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _send(sender: Any, function: Any, argument: Any) -> None:
    sender.send(function(argument))


def _matrix_rate(training: TrainingSpec) -> tuple[str, float]:
    """The device's name, and floating-point operations a second of a large bf16 matrix product on it."""
    import torch

    from tuneoff.measure.environment import processor, usable_cores
    from tuneoff.training.cpu import settle_on_cpu
    from tuneoff.training.device import choose_device

    device = choose_device(training)
    if device.type == "cpu":
        settle_on_cpu(usable_cores())
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(20):
        wait_for(device)
        start = time.perf_counter()
        torch.mm(left, right)
        wait_for(device)
        seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return name, 2 * size**3 / statistics.median(seconds)


def wait_for(device: torch.device) -> None:
    """Waits until the device has done all that is queued."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _measure(work: Work) -> Measured:
    import torch

    from tuneoff.data.prepared import load_tokens
    from tuneoff.measure.memory import peak_memory
    from tuneoff.models.load import load_classifier, load_config
    from tuneoff.models.quantised import quantisation_of
    from tuneoff.training.device import choose_device, choose_precision
    from tuneoff.training.order import epoch_batches

    prepared = work.prepared.prepared
    training = work.spec.training.model_copy(update={"gradient_checkpointing": work.engine.endswith(CHECKPOINTING)})
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
    all_batches = [
        rows
        for epoch in range(training.epochs)
        for rows in epoch_batches(tokens["train"].lengths, training.batch_size, work.seed, epoch, bucketed=False)
    ]
    batches = all_batches[: work.steps]
    warm_up = max(1, len(batches) // 4)

    clock = StepClock(device, warm_up, len(batches))
    memory = peak_memory(device)
    memory.reset()
    job = Job(
        model,
        loaded,
        training,
        device,
        precision,
        work.arm,
        work.seed,
        tokens,
        all_batches,
        batches,
        clock,
    )
    how, predict = (_with_tuneoff if work.engine.startswith("tuneoff") else _with_trainer)(job)
    peak = memory.peak_bytes()
    began, warm, ended = clock.marks
    timed = np.concatenate(batches[warm_up:])
    return Measured(
        engine=work.engine,
        arm=work.arm.name,
        method=work.arm.method,
        seed=work.seed,
        steps=len(batches),
        examples_per_second=len(timed) / (ended - warm),
        tokens_per_second=int(tokens["train"].lengths[timed].sum()) / (ended - warm),
        peak_memory_bytes=peak,
        setup_seconds=began - clock.created,
        matrix_parameters=matrix_parameters,
        test_accuracy=float((predict() == tokens["test"].labels).mean()) if work.steps is None else None,
        how=how,
    )


@dataclass(frozen=True)
class Job:
    """What both engines are given: all batches of the run, and those that are trained on. `clock` starts with it."""

    model: torch.nn.Module
    loaded: LoadedModel
    training: TrainingSpec
    device: torch.device
    precision: torch.dtype
    arm: ArmSpec
    seed: int
    tokens: dict[str, Tokens]
    all_batches: list[NDArray[np.int64]]
    batches: list[NDArray[np.int64]]
    clock: StepClock


def _with_tuneoff(job: Job) -> tuple[dict[str, Any], Predict]:
    from tuneoff.measure.environment import usable_cores
    from tuneoff.training.cpu import settle_on_cpu
    from tuneoff.training.engines.choose import make_engine
    from tuneoff.training.optim.adamw import learning_rates

    if job.device.type == "cpu":
        settle_on_cpu(usable_cores())
    engine = make_engine(job.model, job.loaded, job.training, job.device, job.precision, arm=job.arm)
    engine.prepare(job.tokens["train"], job.all_batches)  # as in a study, so that buffers are of the same sizes
    rates = learning_rates(job.arm.rate, len(job.batches), job.training.warmup_ratio)
    job.clock.begin()
    for _ in engine.steps(job.tokens["train"], list(zip(job.batches, rates, strict=True))):
        job.clock.step()
    return engine.describe(), lambda: engine.logits(job.tokens["test"]).argmax(axis=1)


def _with_trainer(job: Job) -> tuple[dict[str, Any], Predict]:
    """`Trainer` as people use it: autocast over float32 weights, dynamic padding, fused AdamW, linear schedule."""
    import torch
    from torch.utils.data import Dataset, SequentialSampler
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Sequences(Dataset[dict[str, Any]]):
        def __init__(self, tokens: Tokens, rows: NDArray[np.int64]) -> None:
            self.tokens, self.rows = tokens, rows

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            row = self.rows[index]
            start, end = self.tokens.offsets[row : row + 2]
            return {"input_ids": self.tokens.ids[start:end].astype(np.int64), "labels": int(self.tokens.labels[row])}

    def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(example["input_ids"]) for example in examples)
        ids = np.full((len(examples), longest), job.loaded.model.config.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, example in enumerate(examples):
            ids[row, : len(example["input_ids"])] = example["input_ids"]
            mask[row, : len(example["input_ids"])] = 1
        labels = torch.tensor([example["labels"] for example in examples])
        return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask), "labels": labels}

    class InOrder(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    class Clocked(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step == 0:
                job.clock.begin()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            job.clock.step()

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
        trainer.train()
    test = job.tokens["test"]
    by_length = np.argsort(test.lengths, kind="stable")

    def predict() -> NDArray[np.int64]:
        predictions = np.empty(len(test), dtype=np.int64)
        predictions[by_length] = trainer.predict(Sequences(test, by_length)).predictions.argmax(axis=1)
        return predictions

    return {"batches": "dynamic padding"}, predict


def _summarise(measured: Sequence[Measured], rate: float) -> list[dict[str, Any]]:
    """One row an arm and engine: medians over the repeats, and ratios to Trainer's medians."""
    groups: dict[tuple[str, str], list[Measured]] = {}
    for one in measured:
        groups.setdefault((one.arm, one.engine), []).append(one)
    rows = []
    for (arm, engine), ones in groups.items():
        row: dict[str, Any] = {"arm": arm, "method": ones[0].method, "engine": engine, "repeats": len(ones)}
        for key in ("examples_per_second", "tokens_per_second", "peak_memory_bytes", "setup_seconds"):
            row[key] = statistics.median(getattr(one, key) for one in ones)
        row["examples_per_second_range"] = [f(one.examples_per_second for one in ones) for f in (min, max)]
        row["accuracies"] = [one.test_accuracy for one in ones if one.test_accuracy is not None]
        row["share_of_matrix_rate"] = 6 * ones[0].matrix_parameters * row["tokens_per_second"] / rate
        rows.append(row)
    for row in rows:
        for other in rows:
            if other["arm"] == row["arm"] and other["engine"].startswith("trainer"):
                row[f"speed_over_{other['engine']}"] = row["examples_per_second"] / other["examples_per_second"]
                row[f"memory_over_{other['engine']}"] = row["peak_memory_bytes"] / other["peak_memory_bytes"]
    return rows


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    peers = [engine for engine in ENGINES if engine.startswith("trainer") and f"speed_over_{engine}" in rows[0]]
    head = ["arm", "engine", "examples/s (range)", "peak MB", "set-up s", "share of matrix rate"]
    head += [f"speed, memory ÷ {peer}" for peer in peers] + ["test accuracy"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        low, high = row["examples_per_second_range"]
        lines.append(
            [
                row["arm"],
                row["engine"],
                f"{row['examples_per_second']:,.1f} ({low:,.1f}–{high:,.1f})",
                f"{row['peak_memory_bytes'] / 1e6:,.0f}",
                f"{row['setup_seconds']:.1f}",
                f"{row['share_of_matrix_rate']:.1%}" if row["method"] == "full" else "",
                *(f"{row[f'speed_over_{peer}']:.2f}, {row[f'memory_over_{peer}']:.2f}" for peer in peers),
                " ".join(f"{accuracy:.4f}" for accuracy in row["accuracies"]),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    main()
