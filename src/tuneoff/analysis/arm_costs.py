"""What each arm costs: of runs that were measured under the same conditions, and of no others with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tuneoff.analysis.conditions import ALONE, ONLY_OF_TIMES, costs_key, differences
from tuneoff.records.arm_summary import ArmCosts
from tuneoff.records.run import ScoredRun, TrainedRun

BySeed = Sequence[Sequence[ScoredRun]]
"""An arm's runs that succeeded: for each seed one, or those of its folds."""


def measure_costs(arms: Mapping[str, BySeed]) -> dict[str, tuple[ArmCosts, ...]]:
    """The costs of each arm that has runs, by name, under each of the conditions that its runs were measured under.

    The first are those under the conditions that most arms of the study have in common (of equally many, those alone
    on a device, then those of most runs), or else those of most of the arm's runs.
    """
    common = _common(arms)
    return {arm: _of_arm(by_seed, common) for arm, by_seed in arms.items() if by_seed}


def alike(runs: Sequence[ScoredRun]) -> list[ScoredRun]:
    """Those of an arm's runs that were measured under the conditions that most of them have in common."""
    return max(_by_conditions(runs).values(), key=len)


def device_seconds(run: TrainedRun) -> float:
    """How long a run's process took, for each GPU that it had; processes on CPUs share one machine."""
    return own_seconds(run) * (run.conditions.devices if run.conditions.device_type == "cuda" else 1)


def own_seconds(run: TrainedRun) -> float:
    """How long a run's process took, or its share of the time where it ran beside others."""
    return run.wall_seconds if run.own_seconds is None else run.own_seconds


def with_highest_peak(runs: Sequence[ScoredRun]) -> ScoredRun:
    """Of some runs the one that needed the most memory in training."""
    return max(runs, key=lambda run: run.peak_memory_bytes.train)


def seed_mean(runs: Sequence[ScoredRun], cost: str) -> float | None:
    """The mean of a cost over the runs of a seed; None where it is known of none."""
    known = [value for run in runs if (value := getattr(run, cost)) is not None]
    return float(np.mean(known)) if known else None


def _common(arms: Mapping[str, BySeed]) -> Mapping[str, str]:
    keys = {arm: [costs_key(run) for runs in by_seed for run in runs] for arm, by_seed in arms.items()}

    def rank(conditions: Mapping[str, str]) -> tuple[int, bool, int]:
        same = [sum(not differences((one, conditions)) for one in found) for found in keys.values()]
        return sum(map(bool, same)), conditions[ALONE] == "no", sum(same)

    distinct = {tuple(one.items()): one for found in keys.values() for one in found}
    return max(distinct.values(), key=rank, default={})


def _of_arm(by_seed: BySeed, common: Mapping[str, str]) -> tuple[ArmCosts, ...]:
    everything = [run for runs in by_seed for run in runs]

    def rank(runs: Sequence[ScoredRun]) -> tuple[bool, bool, int]:
        return not differences((costs_key(runs[0]), common)), costs_key(runs[0])[ALONE] == "no", len(runs)

    found = sorted(_by_conditions(everything).values(), key=rank, reverse=True)
    ids = [{run.run_id for run in runs} for runs in found]
    return tuple(_costs([[run for run in seed if run.run_id in of] for seed in by_seed], everything) for of in ids)


def _by_conditions(runs: Iterable[ScoredRun]) -> dict[tuple[tuple[str, str], ...], list[ScoredRun]]:
    found: dict[tuple[tuple[str, str], ...], list[ScoredRun]] = {}
    for run in runs:
        found.setdefault(tuple(sorted(costs_key(run, same_arm=True).items())), []).append(run)
    return found


def _costs(by_seed: BySeed, everything: Sequence[ScoredRun]) -> ArmCosts:
    """Costs of runs under the same conditions.

    Args:
        by_seed: these runs.
        everything: all runs of the arm; those that differ in what only times depend on count for memory.
    """
    by_seed = [runs for runs in by_seed if runs]
    first = by_seed[0][0]
    conditions, with_engine = costs_key(first), costs_key(first, same_arm=True)
    alike_in_memory = [
        run for run in everything if not differences((costs_key(run, same_arm=True), with_engine), but=ONLY_OF_TIMES)
    ]
    memory = [run.peak_memory_bytes for run in alike_in_memory]

    def known(cost: str) -> tuple[float, ...]:
        means = [seed_mean(runs, cost) for runs in by_seed]
        return tuple(mean for mean in means if mean is not None)

    whole = tuple(float(np.mean([device_seconds(run) for run in runs])) for runs in by_seed)
    latencies = known("inference_latency_seconds")
    return ArmCosts(
        conditions=conditions,
        measured_runs=len(by_seed),
        times_shared=conditions[ALONE] == "yes",
        train_seconds=_mean(known("train_seconds")),
        train_seconds_by_run=known("train_seconds"),
        selected_train_seconds=_mean_of(known("selected_train_seconds")),
        train_examples_per_second=_mean(known("train_examples_per_second")),
        setup_seconds=_mean(known("setup_seconds")),
        eval_seconds=_mean(known("eval_seconds")),
        device_seconds=_mean(whole),
        device_seconds_by_run=whole,
        energy_joules=_mean_of(known("energy_joules")),
        inference_latency_seconds=_mean_of(latencies),
        inference_latency_seconds_by_run=latencies,
        inference_latency_p95_seconds=_mean_of(known("inference_latency_p95_seconds")),
        inference_texts_per_second=_mean_of(known("inference_texts_per_second")),
        peak_train_memory_bytes=max(peak.train for peak in memory),
        peak_eval_memory_bytes=max(peak.eval for peak in memory),
        peak_reserved_memory_bytes=max(peak.reserved for peak in memory),
        weights_memory_bytes=first.weights_bytes,
        optimiser_memory_bytes=first.optimiser_bytes,
        memory_parts=with_highest_peak(alike_in_memory).memory_parts,
        memory_kind=first.memory_kind,
        precision=first.conditions.precision,
        engine=first.conditions.engine or {},
        device=first.conditions.device,
    )


def _mean_of(values: Sequence[float]) -> float | None:
    """None where there are none."""
    return _mean(values) if values else None


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
