"""Stored results of a study's runs that do not count, since they were computed under other conditions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import TYPE_CHECKING

from tuneoff.data.parts import part_names
from tuneoff.runs.allocation import Allocation
from tuneoff.study.plan import make_run
from tuneoff.study.rates import at_rate

if TYPE_CHECKING:
    from tuneoff.records.run import RunResult
    from tuneoff.spec import StudySpec
    from tuneoff.study.prepare import PreparedStudy
    from tuneoff.study.store import Store


def computed_elsewhere(spec: StudySpec, prepared: PreparedStudy, store: Store, allocation: Allocation) -> str | None:
    """Says in one line which stored results the study would go on from, if its runs were computed as those were.

    Args:
        spec: the study.
        prepared: its data.
        store: its folder.
        allocation: what its runs are computed on now.

    Returns:
        The line, or None where there are none.
    """
    found: Counter[str] = Counter()
    results = {result.run_id: result for result in store.all_results() if result.status != "interrupted"}
    for result in results.values():
        difference = _difference(spec, prepared, result, allocation, results.keys())
        if difference is not None:
            found[f"with {difference}"] += 1
    if not results and (unread := store.results_of_other_versions()):
        found["by another version of tuneoff"] = unread
    if not found:
        return None
    count = sum(found.values())
    stored, do = ("results", "do") if count > 1 else ("result", "does")
    listed = "; ".join(f"{number} {difference}" for difference, number in found.items())
    return (
        f"{count} stored {stored} {do} not count, computed otherwise than runs are now: {listed}. Their runs are "
        f"trained anew; what is there stays in {store.folder / 'runs'}"
    )


def _difference(
    spec: StudySpec, prepared: PreparedStudy, result: RunResult, now: Allocation, done: Container[str]
) -> str | None:
    """How a result was computed other than its run would be now: `cores 2 (now 1)`.

    None where it counts, is none of this study's or does not tell, or where its run has been computed as now as well.
    """
    arm = next((arm for arm in spec.arms if arm.name == result.arm), None)
    part = result.part
    if arm is None or part not in part_names(spec.data) or result.conditions is None:
        return None
    then = Allocation.of(result.conditions)
    arm = at_rate(arm, result.learning_rate)
    ids = [make_run(spec, prepared, allocation, arm, result.seed, part, result.trial).id for allocation in (then, now)]
    if ids[0] != result.run_id or ids[1] in done:
        return None
    a, b = then.decisive(arm), now.decisive(arm)
    # Where one of them was a GPU, which has no number of cores, that says it all.
    return ", ".join(f"{name} {a[name]} (now {b[name]})" for name in a if name in b and a[name] != b[name])
