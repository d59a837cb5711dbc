"""Weights & Biases: a run a run, grouped by study; online, or offline in the study's folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError, one_line
from tuneoff.tracking.base import (
    TABLE,
    Tracker,
    Value,
    require,
    run_config,
    run_curve,
    run_outcome,
    study_charts,
    study_outcome,
    study_table,
)

if TYPE_CHECKING:
    import wandb

    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import RunResult
    from tuneoff.spec import StudySpec

INIT_SECONDS = 30
FINISH_SECONDS = 120
"""How long W&B's server is waited for, at the beginning and at the end of a run."""


class WandbTracker(Tracker):
    """W&B runs with curves and summary. Nothing else is collected: no system metrics, code, output or packages."""

    name = "wandb"

    @classmethod
    def check(cls, spec: StudySpec) -> bool:
        require("wandb", "wandb")
        import wandb

        try:
            mode = _mode()
            ready = mode != "online" or wandb.login(prompt=False, verify=False)
        except Exception as error:  # of settings and keys that W&B cannot use
            raise UserError(f"tracking.wandb: {one_line(error)}") from error
        if not ready:
            raise UserError(
                "tracking.wandb needs an API key, and none is there; run `wandb login`, set WANDB_API_KEY, or set "
                "WANDB_MODE=offline"
            )
        return mode != "disabled"

    def waits_for_server(self) -> bool:
        return _mode() == "online"

    def track_run(self, result: RunResult) -> None:
        config = run_config(self._study, result)
        with self._run(result.run_id, "trial" if config["trial"] else "run", config) as run:
            for step, values in run_curve(result):
                run.log(values, step=step)
            run.summary.update(run_outcome(result))

    def track_study(self, results: StudyResults) -> None:
        import wandb

        table = [[row[column] for column in TABLE] for row in study_table(results.summary)]
        with self._run("study", "study", {"study": self._study.spec.name}) as run:
            run.log(
                {
                    "arms": wandb.Table(columns=list(TABLE), data=table),
                    **{f"charts/{path.stem}": wandb.Image(str(path)) for path in study_charts(results)},
                },
                step=len(results.ended),
            )
            run.summary.update(study_outcome(results.summary))

    def where(self) -> str:
        if _mode() == "offline":
            return f"wandb sync {self._study.folder / 'wandb' / 'offline-run-*'}"
        return f"project {self._study.spec.tracking.wandb_project}, group {self._study.spec.name}"

    def _run(self, name: str, kind: str, config: Mapping[str, Value]) -> wandb.Run:
        """A new run, or the same one again, in place of what is there."""
        import wandb

        study = self._study
        identity = study.identity(name)
        for old in (study.folder / "wandb").glob(f"*run-*-{identity}"):
            shutil.rmtree(old)
        return wandb.init(
            project=study.spec.tracking.wandb_project,
            group=study.spec.name,
            job_type=kind,
            name=name,
            id=identity,
            resume="allow" if _mode() == "online" else None,
            dir=study.folder,
            config=dict(config),
            allow_val_change=True,
            settings=wandb.Settings(
                reinit="create_new",  # a run that the caller of `run_study` has open is not ours to end
                console="off",
                silent=True,
                symlink=False,
                save_code=False,
                disable_code=True,
                disable_git=True,
                disable_job_creation=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                init_timeout=INIT_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )


def _mode() -> str:
    """`online`, `offline` or `disabled`, from the environment or W&B's own settings files."""
    import wandb

    mode: str = wandb.setup().settings.mode
    return {"dryrun": "offline", "disabled": "disabled", "offline": "offline"}.get(mode, "online")
