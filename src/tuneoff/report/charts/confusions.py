"""Which classes are taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

from tuneoff.core.texts import broken
from tuneoff.report.charts.style import INK, NAME_LETTERS, Rows, Runs, data, layers, named_rows, row_height

if TYPE_CHECKING:
    from tuneoff.records.arm_summary import ScoredArm
    from tuneoff.records.summary import Summary

MOST_CLASSES = 12
"""In a heat map that can still be read on a phone; of more, those with the most errors are shown."""
CELL = 28


def confusion_matrix(summary: Summary, runs: Runs) -> alt.LayerChart | None:
    """Shares of each class by what one arm calls them, a row a class."""
    arm = _arm(summary)
    found = None if arm is None else arm.by_class
    if arm is None or found is None or summary.data.label_kind != "class":
        return None
    errors = dict.fromkeys(found.classes, 0.0)
    for cell in found.confusions:
        errors[cell.label] += cell.examples
        errors[cell.prediction] += cell.examples
    worst = set(sorted(errors, key=lambda name: -errors[name])[:MOST_CLASSES])
    shown = [name for name, scores in found.classes.items() if name in worst and scores.examples]
    shares = {(name, name): found.classes[name].recall for name in shown}
    for cell in found.confusions:
        if cell.label in shown and cell.prediction in shown:
            shares[cell.label, cell.prediction] = cell.examples / found.classes[cell.label].examples
    # Columns have the numbers of the rows: names beside each other would have to be cut.
    numbers = {name: str(index + 1) for index, name in enumerate(shown)}
    rows: Rows = [
        {
            "label": label,
            "prediction": prediction,
            "column": numbers[prediction],
            "share": 100 * share,
            "text": f"{100 * share:.0f}",
        }
        for (label, prediction), share in shares.items()
    ]
    names = {name: broken(f"{numbers[name]} {name}", NAME_LETTERS) for name in shown}
    fewer = [f"of the {len(shown)} classes with the most errors"] if len(shown) < len(errors) else []
    title = ["called so, % of the class,", *broken(f"by {arm.arm}", NAME_LETTERS), *fewer]
    axis = alt.Axis(labelAngle=0, grid=False, ticks=False, domain=False)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("column:N", sort=list(numbers.values()), title=title, axis=axis), y=named_rows("label:N", names)
    )
    return layers(
        row_height(names.values(), CELL) * len(shown),
        base.mark_rect(color=INK).encode(
            opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 100], range=[0.03, 0.45]), legend=None),
            tooltip=[
                alt.Tooltip("label:N"),
                alt.Tooltip("prediction:N"),
                alt.Tooltip("share:Q", format=".1f", title="% of the class"),
            ],
        ),
        base.mark_text(color=INK, fontSize=11).encode(text=alt.Text("text:N")),
    )


def _arm(summary: Summary) -> ScoredArm | None:
    """The arm that the recommendation names, or else the most accurate of those that learned."""
    recommendation = summary.recommendation
    now = recommendation.choose_now
    named = (recommendation.arm, None if now is None else now.arm, recommendation.best)
    learned = [arm for arm in summary.scored_arms if arm.learned]
    chosen = (arm for name in named for arm in learned if arm.arm == name)
    return next(chosen, max(learned, key=lambda arm: arm.test_score.mean, default=None))
