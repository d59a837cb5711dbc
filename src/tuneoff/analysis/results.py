"""A study's results, read back from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from tuneoff.analysis.folds import pooled
from tuneoff.analysis.score_table import ScoreTable
from tuneoff.core.errors import UserError, damaged
from tuneoff.core.files import read_json
from tuneoff.data.parts import part_names, size_name
from tuneoff.data.prepared import read_prepared
from tuneoff.records.environment import Environment
from tuneoff.records.label_issue import LabelIssue
from tuneoff.records.plan import PlanEntry
from tuneoff.records.prepared import Prepared
from tuneoff.records.run import RunResult, ScoredFolds, ScoredRun, ScoredSeed, UnfinishedRun, UnsuccessfulRun
from tuneoff.records.saved_model import TextRules
from tuneoff.records.summary import Summary
from tuneoff.runs.files import MODEL
from tuneoff.spec import StudySpec, load_study
from tuneoff.spec.data import TASKS
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.study.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tuneoff.tasks.base import Answers, Task
    from tuneoff.tasks.objectives.base import Objective


@dataclass(frozen=True, repr=False, eq=False)
class StudyResults:
    """What a study's folder holds; each reading of it is its own, equal to no other.

    Attributes:
        folder: the study's folder.
        spec: the study.
        prepared: sizes, baselines and audit findings of its data.
        environment: versions and machine of the last `tuneoff run`.
        planned: the plan's runs; none while the study is being tuned.
        runs: the stored results, in the plan's order; runs not done yet are absent.
        trials: likewise of the trials that tune, which are no part of `planned` and `runs`.
    """

    folder: Path
    spec: StudySpec
    prepared: Prepared
    environment: Environment
    planned: list[PlanEntry]
    runs: list[RunResult]
    trials: list[RunResult]

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Reads a study's folder, finished or not.

        Raises:
            UserError: (a `ValueError`) where the folder holds no study, or a damaged one.
        """
        folder = Path(folder)
        store = Store(folder)
        planned = store.planned()
        prepared = read_prepared(folder)
        path = folder / "environment.json"
        try:
            environment = Environment.model_validate(read_json(path))
        except (OSError, ValueError) as error:
            raise damaged(path, error) from error
        tried = [entry for entry in planned if entry.trial]
        planned = [entry for entry in planned if not entry.trial]
        return cls(
            folder=folder,
            spec=load_study(folder / "study.toml"),
            prepared=prepared,
            environment=environment,
            planned=planned,
            runs=_stored(store, planned),
            trials=_stored(store, tried),
        )

    @property
    def ended(self) -> list[RunResult]:
        """Results of runs that are not to go on from a checkpoint."""
        return [run for run in self.runs if run.status != "interrupted"]

    @property
    def failed(self) -> list[UnsuccessfulRun]:
        """Results of runs that have ended, but not well."""
        return [run for run in self.ended if isinstance(run, UnsuccessfulRun)]

    @property
    def failed_trials(self) -> list[UnfinishedRun]:
        """Results of trials that have ended without saying anything of their learning rate."""
        ended = [trial for trial in self.trials if isinstance(trial, UnfinishedRun)]
        return [trial for trial in ended if trial.status != "interrupted"]

    @cached_property
    def summary(self) -> Summary:
        """The content of `summary.json`: arms, baselines, comparisons, pareto, recommendation, audit."""
        from tuneoff.analysis.summary import summarise

        return summarise(self)

    @cached_property
    def label_issues(self) -> tuple[LabelIssue, ...]:
        """The content of `label-issues.csv`: the labels that all arms that learned call wrong with confidence."""
        from tuneoff.analysis.label_issues import find_label_issues

        return find_label_issues(self)

    def of_arm(self, arm: str, train_size: int | None = None) -> Sequence[ScoredSeed]:
        """The results of an arm's runs that succeeded, in the order of seeds.

        The runs of a seed's folds are one result (see `tuneoff.analysis.folds`), and count when all have succeeded.

        Args:
            arm: its name.
            train_size: one of the study's `train_sizes`; the largest when left out.
        """
        if self.spec.data.folds is not None:
            assert train_size is None
            return self._pooled[arm]
        return [run for (run,) in self.runs_by_seed(arm, train_size)]

    def predictions(self, arm: str, train_size: int | None = None) -> list[pd.DataFrame]:
        """The test predictions behind each result of `of_arm`, as in `predictions.parquet`.

        Rows are in the order of `data/test.parquet`: with folds in their order, and `example` counts within a fold.
        """
        import pandas as pd

        store = Store(self.folder)
        return [
            pd.concat([store.predictions(run.run_id) for run in runs], ignore_index=True)
            for runs in self.runs_by_seed(arm, train_size)
        ]

    def answers(self, arm: str, train_size: int | None = None) -> list[tuple[Answers, Answers]]:
        """Labels, and what was predicted, of each result of `of_arm`."""
        return [self.answers_of(frame) for frame in self.predictions(arm, train_size)]

    def answers_of(self, frame: pd.DataFrame) -> tuple[Answers, Answers]:
        """Labels, and what was predicted, of some rows of `predictions.parquet`."""
        return self.task.stored(frame["label"].to_numpy()), self.task.stored(frame["prediction"].to_numpy())

    def judged(self, arm: str, train_size: int | None = None) -> list[tuple[Answers, Answers]]:
        """Labels, and what the objective judges, of each result of `of_arm`: answers, or probabilities."""
        found = zip(self.runs_by_seed(arm, train_size), self.predictions(arm, train_size), strict=True)
        return [self._judged_of(runs, frame) for runs, frame in found]

    def _judged_of(self, runs: Sequence[ScoredRun], frame: pd.DataFrame) -> tuple[Answers, Answers]:
        """Labels, and what the objective judges, of one seed's runs."""
        truth, answers = self.answers_of(frame)
        return truth, answers if self.objective.of == "answers" else self.probabilities(runs, frame)

    def probabilities(
        self, runs: Sequence[ScoredRun], frame: pd.DataFrame, tempered: bool = True
    ) -> NDArray[np.float64]:
        """Of each class or label, shape (examples, outputs).

        Args:
            runs: of one seed: one, or those of its folds.
            frame: their test predictions.
            tempered: whether at each run's temperature; otherwise those of its logits as they are.
        """
        logits = np.stack(frame["logits"].to_list())
        ends = np.cumsum([self.prepared.part(run.part).sizes["test"] for run in runs])
        rules = TextRules(
            task=self.spec.data.task, label_names=self.prepared.label_names, max_length=self.spec.data.max_length
        )
        found = [
            self.task(rules.model_copy(update={"temperature": run.temperature or 1.0} if tempered else {}))
            .probabilities(of_run)
            .astype(np.float64)
            for run, of_run in zip(runs, np.split(logits, ends[:-1]), strict=True)
        ]
        return np.concatenate(found)

    def correct(self, arm: str) -> NDArray[np.float64]:
        """Which test examples each result of `of_arm` got right: 0 or 1, shape (seeds, examples).

        Not of numbers, which are no more than near.
        """
        found = [self.task.correct(*answers) for answers in self.answers(arm)]
        return np.array([right.astype(np.float64) for right in found if right is not None])

    @property
    def task(self) -> type[Task]:
        """What a label is."""
        return TASKS.named(self.spec.data.task)

    @property
    def objective(self) -> type[Objective]:
        """The metric that the study goes by."""
        return OBJECTIVES.named(self.spec.objective)

    def scores(self, arm: str, train_size: int | None = None) -> ScoreTable:
        """What each test example adds to the objective of each result of `of_arm`."""
        return ScoreTable.of([self.objective.contributions(*judged) for judged in self.judged(arm, train_size)])

    def runs_by_seed(self, arm: str, train_size: int | None = None) -> list[list[ScoredRun]]:
        """For each seed the results behind that of `of_arm`: one, or those of its folds, all of which succeeded."""
        names = part_names(self.spec.data)
        if self.spec.data.train_sizes is not None:
            names = (size_name(train_size or self.spec.data.train_sizes[-1]),)
        found = {(run.seed, run.part): run for run in self.runs if isinstance(run, ScoredRun) and run.arm == arm}
        seeds = dict.fromkeys(entry.seed for entry in self.planned)
        complete = [seed for seed in seeds if all((seed, part) in found for part in names)]
        return [[found[seed, part] for part in names] for seed in complete]

    def best_run(self, arm: str) -> ScoredRun | None:
        """The run of an arm that is best on validation, of all seeds and folds, and of the largest training size.

        The first of several that are equally good; None where the arm has no seed whose runs have all succeeded.
        """
        runs = [run for of_seed in self.runs_by_seed(arm) for run in of_seed]
        return max(runs, key=lambda run: run.selected.score, default=None)

    def model_folder(self, arm: str) -> Path:
        """Where the model of an arm's best run on validation is.

        Raises:
            UserError: where there is no such arm, it has no run that succeeded, or models were not kept.
        """
        names = [of_study.name for of_study in self.spec.arms]
        if arm not in names:
            raise UserError(f"no arm is called '{arm}'; there are {', '.join(names)}")
        run = self.best_run(arm)
        if run is None:
            raise UserError(f"'{self.folder}' has no run of the arm '{arm}' that succeeded")
        folder = self.folder / "runs" / run.run_id / MODEL
        if not folder.is_dir():
            raise UserError(f"'{folder}' is not there: models are kept where keep_models = true")
        return folder

    @cached_property
    def _pooled(self) -> dict[str, list[ScoredFolds]]:
        return {
            arm.name: [
                pooled(runs, self.task, self.objective, *self.answers_of(frame), self._judged_of(runs, frame)[1])
                for runs, frame in zip(self.runs_by_seed(arm.name), self.predictions(arm.name), strict=True)
            ]
            for arm in self.spec.arms
        }

    def __repr__(self) -> str:
        return f"StudyResults({str(self.folder)!r}, {len(self.ended)} of {len(self.planned)} runs done)"

    def to_pandas(self) -> pd.DataFrame:
        """One row a run, nested fields flattened with a dot (`parameters.trainable`); without the curves."""
        import pandas as pd

        return pd.json_normalize([run.model_dump(mode="json", exclude={"curve"}) for run in self.runs])


def _stored(store: Store, planned: list[PlanEntry]) -> list[RunResult]:
    found = [store.result(entry.id) for entry in planned]
    return [result for result in found if result is not None]
