"""How long a study will take on this machine, by a few real steps of each arm; nothing of them is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.data.parts import part_names
from tuneoff.data.prepared import load_tokens
from tuneoff.measure.environment import visible_gpus
from tuneoff.records.run import ScoredRun, TrainedRun, UnsuccessfulRun
from tuneoff.records.times import ProbedArm, ProbedStudy
from tuneoff.spec.schema import EXECUTORS
from tuneoff.study.pins import pin_to_commits
from tuneoff.study.plan import make_run, steps_of
from tuneoff.study.prepare import prepare_study
from tuneoff.study.preview import check_arms, check_class_weights
from tuneoff.study.rates import at_starting_rates
from tuneoff.study.run_task import make_task
from tuneoff.study.search import MOST_EXTENSIONS, trial_steps, usual_trials
from tuneoff.study.tuning import tuned_arms
from tuneoff.training.order import run_batches

if TYPE_CHECKING:
    from tuneoff.data.tokens import Tokens
    from tuneoff.records.run import RunResult
    from tuneoff.runs.task import RunTask
    from tuneoff.spec import StudySpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.executors.base import Executor
    from tuneoff.study.pins import Pinned
    from tuneoff.study.prepare import PreparedStudy

WARM_UP = 3
"""Steps of an arm's first probe: what a run does once is in them."""
LEAST, MOST = 8, 60
"""Further steps of its second one."""
SECONDS = 8.0
"""That these should take."""


@dataclass(frozen=True)
class Probed:
    """What two short runs of an arm took, in seconds.

    Attributes:
        run_once: of a run outside of steps and of what evaluation takes by the token.
        trial_once: likewise of a trial, which is set up for fewer steps, and is neither tested nor saved.
        first: more than others for the first steps.
        token: of training, padding counted where batches are padded.
        read: a token of evaluation.
        packed: whether sequences are computed without padding.
    """

    run_once: float
    trial_once: float
    first: float
    token: float
    read: float
    packed: bool


def probe_study(spec: StudySpec, say: Callable[[str], None]) -> ProbedStudy:
    """The content of `tuneoff plan --probe`: each arm takes some steps in two fresh processes, and evaluates once.

    Prepared data goes to the cache, as when the study runs; nothing else is written.

    Args:
        spec: the study.
        say: told what goes on.

    Raises:
        UserError: where the study could not be carried out.
    """
    with hub.telling(say), tempfile.TemporaryDirectory(prefix="tuneoff-probe-") as scratch:
        pinned = pin_to_commits(spec, None, say)
        spec = pinned.spec
        executor_class = EXECUTORS.named(spec.execution.executor)
        prepared = prepare_study(spec, Path(scratch), say, executor_class.warm_up)
        prepared.save()
        check_class_weights(spec, prepared.prepared.label_names)
        check_arms(spec, prepared.model_folder, len(prepared.prepared.label_names), prepared.prepared.pad_token_id)
        with executor_class(spec.execution, spec.training) as executor:
            return _Probe(pinned, prepared, executor, Path(scratch), say).study()


class _Probe:
    def __init__(
        self, pinned: Pinned, prepared: PreparedStudy, executor: Executor, scratch: Path, say: Callable[[str], None]
    ) -> None:
        self._spec = pinned.spec
        self._pinned = pinned
        self._prepared = prepared
        self._executor = executor
        self._scratch = scratch
        self._say = say
        self._parts = part_names(self._spec.data)
        self._part = self._parts[0]
        self._steps = steps_of(self._spec, prepared, self._part)
        self._device = ""
        self._of_all_parts: list[tuple[float, float]] = []
        """Seconds of a run and of a trial of each arm that could be tried, over all parts."""

    def study(self) -> ProbedStudy:
        spec = self._spec
        arms = at_starting_rates(spec.arms, self._prepared.prepared.model_width, self._steps)
        tuned = tuned_arms(spec)
        found = [self._arm(arm, arm.name in tuned) for arm in arms]
        parts, seeds = len(self._parts), len(spec.seeds)
        tuning_seeds = len(spec.seeds[: spec.tuning.seeds])
        usual = usual_trials(spec.tuning) * tuning_seeds
        further = MOST_EXTENSIONS * tuning_seeds if spec.tuning.strategy == "grid" else 0
        of_runs, of_trials = (sum(one[place] for one in self._of_all_parts) for place in (0, 1))
        at_once = self._at_once()
        seconds = most = cost = None
        if len(self._of_all_parts) == len(arms):
            seconds = (seeds * of_runs + usual * of_trials) / at_once
            most = seconds + further * of_trials / at_once
            if spec.analysis.price_per_hour is not None:
                devices = 1 if self._executor.allocation.on_cpu else self._executor.allocation.devices * at_once
                cost = seconds / 3600 * spec.analysis.price_per_hour * devices
        return ProbedStudy(
            study=spec.name,
            device=self._device,
            runs=parts * seeds * len(arms),
            trials=parts * usual * len(tuned),
            at_once=at_once,
            arms=tuple(found),
            seconds=seconds,
            most_seconds=most,
            cost=cost,
            currency=spec.analysis.currency,
        )

    def _at_once(self) -> int:
        workers, allocation = self._spec.execution.workers, self._executor.allocation
        if workers != "auto":
            return workers
        return 1 if allocation.on_cpu else max(1, len(visible_gpus()) // allocation.devices)

    def _arm(self, arm: ArmSpec, tuned: bool) -> ProbedArm:
        self._say(f"Probing {arm.name}")
        nothing = {"step": None, "setup": None, "run": None, "trial": None}
        tokens = load_tokens(self._prepared.data_folder, arm.long_texts or self._spec.data.long_texts, self._part)
        probed = self._probed(arm, tuned, tokens)
        if isinstance(probed, str):
            return ProbedArm(arm=arm.name, method=arm.method, why_not=probed, **nothing)
        of_parts = [self._seconds(arm, part, probed) for part in self._parts]
        run, trial = of_parts[0]
        self._of_all_parts.append((sum(run for run, _ in of_parts), tuned * sum(trial for _, trial in of_parts)))
        step = probed.token * self._slots(tokens, self._steps, self._steps, probed.packed) / self._steps
        return ProbedArm(
            arm=arm.name,
            method=arm.method,
            step=None if arm.fitted else step,
            setup=probed.run_once,
            run=run,
            trial=trial if tuned else None,
            why_not=None,
        )

    def _seconds(self, arm: ArmSpec, part: str, probed: Probed) -> tuple[float, float]:
        """Of a run and of a trial on a part of the data; the sizes of training sets differ."""
        tokens = load_tokens(self._prepared.data_folder, arm.long_texts or self._spec.data.long_texts, part)
        validation, test = (int(tokens[split].lengths.sum()) for split in ("validation", "test"))
        steps = 0 if arm.fitted else steps_of(self._spec, self._prepared, part)
        of_trial = trial_steps(steps) if steps else 0
        epochs = self._spec.training.epochs if steps else 1
        run = probed.run_once + probed.token * self._slots(tokens, steps, steps, probed.packed)
        trial = probed.trial_once + probed.token * self._slots(tokens, of_trial, of_trial, probed.packed)
        return (
            probed.first + run + probed.read * (epochs * validation + test),
            probed.first + trial + probed.read * validation,
        )

    def _probed(self, arm: ArmSpec, tuned: bool, tokens: dict[str, Tokens]) -> Probed | str:
        """What short runs say of longer ones; or why they say nothing."""
        first = self._carried_out(arm, tuned, min(WARM_UP, self._steps))
        if not isinstance(first, TrainedRun):
            return _reason(first)
        self._device = first.conditions.device
        packed = (first.conditions.engine or {}).get("batches") == "packed"
        more = min(self._steps, WARM_UP + int(np.clip(SECONDS * WARM_UP / max(first.train_seconds, 1e-3), LEAST, MOST)))
        # The second one is set up as a run is, with what the first had to compile there already.
        second = self._carried_out(arm, False, more)
        if not isinstance(second, ScoredRun):
            return _reason(second)
        assert second.inference_texts_per_second is not None
        tested_in = len(tokens["validation"]) / second.inference_texts_per_second
        read = tested_in / max(1, int(tokens["validation"].lengths.sum()))
        run_once = _once(second) + max(0.0, second.eval_seconds - 2 * tested_in)
        trial_once = min(_once(first) + max(0.0, first.eval_seconds - tested_in), run_once)
        if arm.fitted or more <= WARM_UP:
            return Probed(run_once + second.train_seconds, trial_once + first.train_seconds, 0.0, 0.0, read, packed)
        before = self._slots(tokens, trial_steps(self._steps) if tuned else self._steps, first.steps, packed)
        after = self._slots(tokens, self._steps, second.steps, packed)
        token = max(0.0, second.train_seconds - first.train_seconds) / max(1, after - before)
        return Probed(run_once, trial_once, max(0.0, first.train_seconds - token * before), token, read, packed)

    def _slots(self, tokens: dict[str, Tokens], planned: int, steps: int, packed: bool) -> int:
        """Tokens that the first steps of so many that are planned compute, padding with them where there is any."""
        lengths = tokens["train"].lengths
        if not steps:
            return 0
        epochs = run_batches(lengths, self._spec.training, self._spec.seeds[0], planned, not packed)
        batches = [lengths[rows] for epoch in epochs for rows in epoch][:steps]
        return int(sum(batch.sum() if packed else len(batch) * batch.max() for batch in batches))

    def _carried_out(self, arm: ArmSpec, trial: bool, steps: int) -> RunResult:
        """The first steps of a run of an arm, or of a trial."""
        allocation = self._executor.allocation
        run = make_run(self._spec, self._prepared, allocation, arm, self._spec.seeds[0], self._part, trial)
        run = replace(run, id=f"{run.id}-{steps}")  # the one before may still be ending
        task: RunTask = make_task(
            run,
            self._pinned,
            self._prepared.prepared,
            allocation,
            self._prepared.model_folder,
            self._prepared.data_folder,
            self._scratch / "runs" / run.id,
        )
        task = replace(task, first_steps=steps)
        while not self._executor.has_room(task):  # what the one before held is not given back yet
            self._executor.events(timeout=1.0)
        self._executor.start(task)
        while True:
            for event in self._executor.events(timeout=1.0):
                if event.outcome is not None and event.outcome.result is not None:
                    if event.outcome.stops_study:
                        why = getattr(event.outcome.result, "error", None)
                        raise UserError(f"{self._scratch}: {why}; set TMPDIR to a folder with room")
                    return event.outcome.result


def _once(result: TrainedRun) -> float:
    """What a run takes beside steps and evaluation."""
    return result.wall_seconds - result.train_seconds - result.eval_seconds


def _reason(result: RunResult) -> str:
    return (result.error if isinstance(result, UnsuccessfulRun) else None) or "its steps came to no end"
