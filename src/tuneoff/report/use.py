"""How the winner is used: where its model is, and the lines that load it, predict with it, export it and serve it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.analysis.underfitting import never_answered
from tuneoff.analysis.wording import ACCURACY
from tuneoff.core.errors import UserError
from tuneoff.models.load import resolve_model
from tuneoff.models.recipe import loading_lines
from tuneoff.models.saved import base_of_study, read_saved
from tuneoff.report import words
from tuneoff.study.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.saved_model import SavedModel

EXPORTED = "exported"
"""What the folder is called that is exported to."""


@dataclass(frozen=True)
class Use:
    """How a study's winner is used.

    Attributes:
        sentence: which model it is and where, or why there is none and what to do; empty where nothing is to be said.
        arm: the winner; None where there is no model to use.
        loading: lines of Python for plain transformers and peft.
        commands: for a shell: to predict, to serve, to export.
        read_me: the file that has the lines of Python as well.
    """

    sentence: str
    arm: str | None = None
    loading: str = ""
    commands: tuple[str, ...] = ()
    read_me: str = ""

    @property
    def python(self) -> str:
        """What predicts in a notebook where the study is `results`."""
        return f'results.load({self.arm!r}).predict(["some text"])'


def use(results: StudyResults) -> Use:
    """How the winner is used: the arm that is recommended, or else the one to take if one must be taken now.

    Its model is that of the run that is best on validation.
    """
    summary, folder = results.summary, str(results.folder)
    scored = [arm.arm for arm in summary.scored_arms]
    if words.accepted_errors(summary) or not scored:
        return Use("")
    if not results.spec.keep_models:
        return Use("No model was kept (keep_models = false); a study with keep_models = true keeps one for each run.")
    recommendation = summary.recommendation
    now = recommendation.choose_now
    name = recommendation.arm or (now.arm if now is not None else None)
    if name is None:
        command = shlex.join(["tuneoff", "export", folder, "--arm", scored[0], "--to", EXPORTED])
        return Use(f"No arm is recommended; `{command}` exports an arm that you choose ({', '.join(scored)}).")
    try:
        model = results.model_folder(name)
        saved = read_saved(model)
    except UserError as error:
        return Use(f"There is no model of {name} to use: {error}.")
    chosen = [] if recommendation.arm else ["--arm", name]
    unsaid = base_of_study(saved, results.spec)
    base = [] if unsaid is None else ["--base", unsaid]
    named = "recommended" if recommendation.arm else "the arm to take if you must choose now"
    return Use(
        sentence=f"The model of {name} ({named}), of its best run on validation (seed {saved.seed}), is in {model}."
        f"{_of_this_run(results, name)}",
        arm=name,
        loading=loading_lines(saved, str(model), unsaid or _base(saved, model)),
        commands=(
            shlex.join(["tuneoff", "predict", *base, str(model), "some text"]),
            shlex.join(["tuneoff", "serve", *base, str(model)]),
            shlex.join(["tuneoff", "export", folder, *chosen, "--to", EXPORTED]),
        ),
        read_me=str(model / "README.md"),
    )


def _of_this_run(results: StudyResults, name: str) -> str:
    """What the run that is handed over is like, which the arm's mean need not say."""
    run = results.best_run(name)
    if run is None:
        return ""
    never = never_answered(results, [Store(results.folder).predictions(run.run_id)])
    metric = results.objective.label
    has = words.score(run.score, metric) if metric == ACCURACY else f"{metric} of {words.score(run.score, metric)}"
    return f" On test this one had {has}" + (
        f", and it answered none of its texts with {never.classes}." if never is not None else "."
    )


def _base(saved: SavedModel, folder: Path) -> str | None:
    """Where the base model is on this machine; None of one on the Hub, or where it cannot be told."""
    base = saved.base
    if base.revision is not None or saved.kind == "whole":
        return None
    if base.is_local:
        found = folder / base.path if base.path is not None else None
        return str(found.resolve()) if found is not None and found.is_dir() else None
    try:
        return str(resolve_model(base.id))
    except UserError:  # of a package that is not installed here
        return None
