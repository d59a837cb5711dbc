"""The plain summary that every report, table and chart is made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from tuneoff.analysis.statistics import bootstrap_interval
from tuneoff.data.audit import Finding, floor_findings, in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.analysis.results import StudyResults

MARGIN = 0.01
"""An arm counts as no worse than another where it loses at most this much accuracy."""
COSTS = ("train_seconds", "peak_train_memory_bytes", "trainable_parameters", "checkpoint_bytes")


def summarise(results: StudyResults) -> dict[str, Any]:
    """The content of `summary.json`, units in the names; every value is plain JSON."""
    correct = {arm.name: results.correct(arm.name) for arm in results.spec.arms}
    arms = [_arm(results, arm.name, correct[arm.name]) for arm in results.spec.arms]
    comparisons = _comparisons(results, arms, correct)
    test = results.prepared.sizes["test"]
    return {
        "schema_version": 1,
        "study": results.spec.name,
        "model": results.spec.model.id,
        "data": {
            "source": results.spec.data.source,
            "sizes": results.prepared.sizes,
            "label_names": list(results.prepared.label_names),
            "cut_texts": results.prepared.cut_texts,
            "removed": results.prepared.removed,
        },
        "seeds": list(results.spec.seeds),
        "runs": {"planned": len(results.planned), "done": len(results.ended), "failed": len(results.failed)},
        "arms": arms,
        "floors": [
            {"floor": name, "label": floor["label"], "test_accuracy": floor["test_accuracy"], "test_examples": test}
            for name, floor in results.prepared.floors.items()
        ],
        "comparisons": comparisons,
        "pareto": {cost: _front(arms, cost) for cost in COSTS if cost != "train_seconds" or _times_compare(arms)},
        "recommendation": _recommend(arms, comparisons),
        "breakdown": _breakdown(results, correct),
        "audit": [finding.model_dump(mode="json") for finding in _findings(results, arms)],
    }


def _findings(results: StudyResults, arms: list[dict[str, Any]]) -> list[Finding]:
    """What the audit found before training, and what it says of floors once there is an arm to compare them with."""
    findings = [Finding.model_validate(finding) for finding in results.prepared.findings]
    scored = [(arm["test_accuracy"]["mean"], arm["arm"]) for arm in arms if arm["runs"]]
    if scored:
        accuracy, name = max(scored)
        floors = [(floor["label"], floor["test_accuracy"]) for floor in results.prepared.floors.values()]
        found = floor_findings(floors, (name, accuracy))
        findings += [finding for finding in found if finding.name == "floor-near-best"]
    return in_order(findings)


def _arm(results: StudyResults, name: str, correct: NDArray[np.float64]) -> dict[str, Any]:
    runs = results.of_arm(name)
    method = next(arm for arm in results.spec.arms if arm.name == name)
    failures = [run for run in results.failed if run["arm"] == name]
    arm: dict[str, Any] = {
        "arm": name,
        "method": method.method,
        "learning_rate": method.learning_rate,
        "runs": len(runs),
        "failed": [{"seed": run["seed"], "status": run["status"], "error": run["error"]} for run in failures],
    }
    if not runs:
        return arm
    memory = [run["peak_memory_bytes"] for run in runs]
    # Times on a device that was shared are never mixed with others; they stand alone only where there are no others.
    timed = [run for run in runs if not run["shared_device"]] or runs
    return arm | {
        "test_accuracy": asdict(bootstrap_interval(correct)),
        "test_accuracies": [run["test_accuracy"] for run in runs],
        "test_macro_f1": _mean(run["test_macro_f1"] for run in runs),
        "validation_accuracy": _mean(run["validation_accuracy"] for run in runs),
        "times_shared": all(run["shared_device"] for run in runs),
        "train_seconds": _mean(run["train_seconds"] for run in timed),
        "train_seconds_by_run": [run["train_seconds"] for run in timed],
        "train_examples_per_second": _mean(run["train_examples_per_second"] for run in timed),
        "setup_seconds": _mean(run["setup_seconds"] for run in timed),
        "eval_seconds": _mean(run["eval_seconds"] for run in timed),
        "peak_train_memory_bytes": max(peak["train"] for peak in memory),
        "peak_eval_memory_bytes": max(peak["eval"] for peak in memory),
        "peak_reserved_memory_bytes": max(peak["reserved"] for peak in memory),
        "memory_kind": runs[0]["memory_kind"],
        "trainable_parameters": runs[0]["parameters"]["trainable"],
        "parameters": runs[0]["parameters"],
        "checkpoint_bytes": max(run["checkpoint_bytes"] for run in runs),
        "precision": runs[0]["precision"],
        "engine": runs[0]["engine"],
        "device": runs[0]["device"],
    }


def _comparisons(
    results: StudyResults, arms: list[dict[str, Any]], correct: dict[str, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    """Every pair of arms on the same seeds and examples; the first of a pair has the higher mean."""
    scored = sorted((arm for arm in arms if arm["runs"]), key=lambda arm: -arm["test_accuracy"]["mean"])
    seeds = {arm["arm"]: [run["seed"] for run in results.of_arm(arm["arm"])] for arm in scored}
    pairs = []
    for index, better in enumerate(scored):
        for worse in scored[index + 1 :]:
            a, b = better["arm"], worse["arm"]
            shared = [seed for seed in seeds[a] if seed in seeds[b]]
            if not shared:
                continue
            rows = [[seeds[arm].index(seed) for seed in shared] for arm in (a, b)]
            interval = bootstrap_interval(correct[a][rows[0]] - correct[b][rows[1]])
            verdict = "unranked" if len(shared) < 2 else "better" if interval.ci_low > 0 else "tie"
            pairs.append({"a": a, "b": b, "seeds": len(shared), "difference": asdict(interval), "verdict": verdict})
    return pairs


def _times_compare(arms: list[dict[str, Any]]) -> bool:
    """Whether all arms were timed alike: each alone on its device, or each beside others."""
    return len({arm["times_shared"] for arm in arms if arm["runs"]}) <= 1


def _front(arms: list[dict[str, Any]], cost: str) -> list[str]:
    """Arms that no other arm beats in both mean accuracy and this cost."""
    scored = [arm for arm in arms if arm["runs"]]

    def beaten(arm: dict[str, Any]) -> bool:
        return any(
            other["test_accuracy"]["mean"] >= arm["test_accuracy"]["mean"]
            and other[cost] <= arm[cost]
            and (other["test_accuracy"]["mean"], -other[cost]) != (arm["test_accuracy"]["mean"], -arm[cost])
            for other in scored
        )

    return [arm["arm"] for arm in scored if not beaten(arm)]


def _recommend(arms: list[dict[str, Any]], comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    """The arm with the lowest training memory among those shown to lose no more than the margin."""
    scored = [arm for arm in arms if arm["runs"]]
    if not scored:
        return {"arm": None, "reason": "No run succeeded."}
    if len(scored) == 1:
        return {"arm": None, "reason": f"Only {scored[0]['arm']} has results, so there is nothing to compare it with."}
    if min(arm["runs"] for arm in scored) < 2:
        return {"arm": None, "reason": "An arm with one seed cannot be ranked; run at least two seeds an arm."}
    best = max(scored, key=lambda arm: arm["test_accuracy"]["mean"])
    losses = {pair["b"]: pair["difference"]["ci_high"] for pair in comparisons if pair["a"] == best["arm"]}
    fit = [arm for arm in scored if arm is best or losses[arm["arm"]] <= MARGIN]
    chosen = min(fit, key=lambda arm: arm["peak_train_memory_bytes"])
    ties = [pair["b"] for pair in comparisons if pair["a"] == best["arm"] and pair["verdict"] == "tie"]
    points = f"{MARGIN * 100:g} point{'s' if MARGIN != 0.01 else ''}"
    if chosen is not best:
        reason = f"It is shown to lose at most {points} against {best['arm']} and needs the least memory of such arms."
    elif ties:
        reason = (
            f"It has the highest mean accuracy, but the difference to {', '.join(ties)} is inside the noise; "
            f"more seeds or test examples are needed to show that a cheaper arm loses at most {points}."
        )
    else:
        reason = "It is more accurate than every other arm, beyond the noise."
    return {"arm": chosen["arm"], "best": best["arm"], "ties_with_best": ties, "margin": MARGIN, "reason": reason}


def _breakdown(results: StudyResults, correct: dict[str, NDArray[np.float64]]) -> dict[str, Any] | None:
    """Mean test accuracy by arm for each value of the breakdown column, with the number of examples."""
    if results.spec.data.breakdown is None:
        return None
    import pandas as pd

    values = pd.read_parquet(results.folder / "data" / "test.parquet", columns=["breakdown"])["breakdown"]
    groups = values.value_counts()
    return {
        "column": results.spec.data.breakdown,
        "groups": [
            {
                "value": str(value),
                "test_examples": int(count),
                "test_accuracy": {
                    arm: float(rows[:, (values == value).to_numpy()].mean())
                    for arm, rows in correct.items()
                    if len(rows)
                },
            }
            for value, count in groups.items()
        ],
    }


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))
