"""The plain summary that every report, table and chart is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuneoff.analysis.arms import describe_arms
from tuneoff.analysis.choice import SIMULATED
from tuneoff.analysis.comparisons import ComparedArms, compare_arms, compare_pairs
from tuneoff.analysis.emissions import count_emissions
from tuneoff.analysis.fitness import unfit_arms
from tuneoff.analysis.headlines import baseline_headlines, baseline_score, compare_with_baselines
from tuneoff.analysis.label_issues import check_labels
from tuneoff.analysis.learning_curves import learning_curves
from tuneoff.analysis.money import count_money
from tuneoff.analysis.notes import write_notes
from tuneoff.analysis.pareto import pareto_fronts
from tuneoff.analysis.recommendation import recommend
from tuneoff.analysis.score_table import ScoreTable, common_scale
from tuneoff.analysis.selected_epochs import selection_notes
from tuneoff.analysis.tuning import summarise_tuning
from tuneoff.analysis.underfitting import underfitting_notes
from tuneoff.core.errors import UserError
from tuneoff.data.audit import baseline_findings, in_order
from tuneoff.records.arm_summary import ArmSummary, ScoredArm
from tuneoff.records.finding import Finding
from tuneoff.records.recommendation import Recommendation
from tuneoff.records.summary import BaselineSummary, Breakdown, BreakdownGroup, DataSummary, RunCounts, Summary
from tuneoff.tasks.objectives.accuracy import Accuracy

if TYPE_CHECKING:
    from tuneoff.analysis.against_baselines import AgainstBaseline
    from tuneoff.analysis.results import StudyResults
    from tuneoff.spec import AnalysisSpec, StudySpec


def summarise(results: StudyResults) -> Summary:
    """The analysis of a study."""
    spec = results.spec.analysis
    correct = {arm.name: results.correct(arm.name) for arm in results.spec.arms}
    scores = {arm.name: results.scores(arm.name) for arm in results.spec.arms}
    arms = describe_arms(results, correct, scores)
    compared = _compared(results, arms, scores)
    comparisons = compare_pairs(compared, spec.margin)
    against = compare_with_baselines(results, arms, scores)
    recommendation = _recommend(results, spec, arms, compared, against)
    simulated = recommendation.choose_now and recommendation.choose_now.wrong_rate
    tested = [table.values.shape[1] for table in scores.values() if len(table.values)]
    test_examples = tested[0] if tested else results.prepared.sizes["test"]
    return Summary(
        study=results.spec.name,
        model=results.spec.model.id,
        data=DataSummary(
            source=results.spec.data.source,
            task=results.task.name,
            label_kind=results.task.kind,
            sizes=results.prepared.sizes,
            folds=results.spec.data.folds,
            label_names=results.prepared.label_names,
            cut_texts=results.prepared.cut_texts,
            removed=results.prepared.removed,
        ),
        objective=results.objective.name,
        metric=results.objective.label,
        seeds=results.spec.seeds,
        runs=RunCounts(planned=len(results.planned), done=len(results.ended), failed=len(results.failed)),
        arms=arms,
        baselines=tuple(
            BaselineSummary(
                baseline=name,
                label=baseline.label,
                test_score=score,
                test_accuracy=baseline.test_accuracy,
                test_examples=test_examples,
            )
            for name, baseline in results.prepared.baselines.items()
            if (score := baseline_score(results, baseline)) is not None
        ),
        headlines=baseline_headlines(_labels(results), against, metric=results.objective.label),
        comparisons=comparisons,
        pareto=pareto_fronts(arms, comparisons),
        recommendation=recommendation,
        notes=(
            *underfitting_notes(results, arms),
            *selection_notes(results, arms),
            *write_notes(
                arms,
                len(results.spec.seeds),
                test_examples,
                spec.margin,
                _untried(results.spec),
                common_scale(results.objective, scores.values()).unit,
            ),
            *([SIMULATED] if simulated else []),
        ),
        learning_curves=learning_curves(results),
        tuning=summarise_tuning(results),
        money=count_money(results, arms),
        emissions=count_emissions(spec, arms),
        breakdown=_breakdown(results, arms),
        label_check=check_labels(results),
        audit=tuple(_findings(results, arms)),
    )


def recommend_anew(results: StudyResults, spec: AnalysisSpec) -> Summary:
    """The summary of a study with another margin, preference or limits than its own for the recommendation alone."""
    if spec.min_accuracy is not None and results.task.kind == "number":
        raise UserError(
            "min_accuracy: the labels of this study are numbers, of which there is no accuracy; leave it out"
        )
    summary = results.summary
    scores = {arm.name: results.scores(arm.name) for arm in results.spec.arms}
    against = compare_with_baselines(results, summary.arms, scores)
    compared = _compared(results, summary.arms, scores)
    recommendation = _recommend(results, spec, summary.arms, compared, against)
    return summary.model_copy(update={"recommendation": recommendation})


def _compared(
    results: StudyResults, arms: Sequence[ArmSummary], scores: Mapping[str, ScoreTable]
) -> ComparedArms | None:
    """The arms by the study's objective."""
    tables = {arm: table.values for arm, table in scores.items()}
    return compare_arms(arms, tables, common_scale(results.objective, scores.values()), results.objective.label)


def _untried(study: StudySpec) -> list[str]:
    """The arms that ran at their starting rate, since the study tunes nothing."""
    return [arm.name for arm in study.arms if arm.learning_rate is None and study.tuning.trials == 1]


def _recommend(
    results: StudyResults,
    spec: AnalysisSpec,
    arms: Sequence[ArmSummary],
    compared: ComparedArms | None,
    against: Mapping[str, Sequence[AgainstBaseline]],
) -> Recommendation:
    """The recommendation, with what is to be said of the baselines and those arms that it chooses among."""
    unfit = unfit_arms(arms, against.get("majority", []), results.task.guess)
    answer = recommend(arms, compared, spec.margin, spec.prefer, spec.limits, unfit)
    left_out = {entry.arm for entry in answer.excluded}
    limited = any(isinstance(arm, ScoredArm) and arm.arm in left_out - set(unfit) for arm in arms)
    chosen_among = [arm.arm for arm in arms if arm.arm not in left_out]
    if not chosen_among and not limited:
        chosen_among = [name for name, found in unfit.items() if found.learned]
    left = {name: [one for one in found if one.arm in chosen_among] for name, found in against.items()}
    which = " within the limits" if limited else ""
    headlines = baseline_headlines(_labels(results), left, which, results.objective.label)
    return answer.model_copy(update={"headlines": headlines, "metric": results.objective.label})


def _labels(results: StudyResults) -> dict[str, str]:
    """What each baseline is called."""
    return {name: baseline.label for name, baseline in results.prepared.baselines.items()}


def _findings(results: StudyResults, arms: Sequence[ArmSummary]) -> list[Finding]:
    """What the audit found before training, and what it says of baselines once there is an arm to compare them with."""
    findings = list(results.prepared.findings)
    scored = [
        (arm.test_score.mean, arm.arm)
        for arm in arms
        if isinstance(arm, ScoredArm) and arm.learned  # only then is the data to blame
    ]
    if scored and results.objective is Accuracy:
        accuracy, name = max(scored)
        baselines = [
            (baseline.label, baseline.test_accuracy)
            for baseline in results.prepared.baselines.values()
            if baseline.test_accuracy is not None
        ]
        found = baseline_findings(baselines, (name, accuracy))
        findings += [finding for finding in found if finding.name == "baseline-near-best"]
    return in_order(findings)


def _breakdown(results: StudyResults, arms: Sequence[ArmSummary]) -> Breakdown | None:
    """The mean objective by arm for each value of the breakdown column, with the number of examples."""
    if results.spec.data.breakdown is None:
        return None
    import pandas as pd

    values = pd.read_parquet(results.folder / "data" / "test.parquet", columns=["breakdown"])["breakdown"]
    judged = {arm.arm: results.judged(arm.arm) for arm in arms if isinstance(arm, ScoredArm)}

    def scores(value: str) -> dict[str, float]:
        there = (values == value).to_numpy()
        return {
            arm: float(np.mean([results.objective.value(truth[there], said[there]) for truth, said in of_runs]))
            for arm, of_runs in judged.items()
        }

    return Breakdown(
        column=results.spec.data.breakdown,
        groups=tuple(
            BreakdownGroup(value=str(value), test_examples=int(count), test_score=scores(str(value)))
            for value, count in values.value_counts().items()
        ),
    )
