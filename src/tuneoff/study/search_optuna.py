"""The search for a learning rate by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash
from tuneoff.study.rates import two_digits

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec, TuningSpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.search import Trial

RANGE = 10
"""Where an arm declares no range, it looks from the starting rate divided by this to that multiplied by it."""


def proposals(tuning: TuningSpec, arm: ArmSpec, start: float, done: Sequence[Trial]) -> list[float]:
    """The learning rate that an arm tries next, after Optuna was told of all trials; none once it has had enough.

    Optuna is asked anew each time, with a seed of its own for each arm and trial, so that a study that was interrupted
    goes on as it would have.

    Args:
        tuning: the study's.
        arm: that is tuned.
        start: its starting rate.
        done: its trials.
    """
    if len(done) >= tuning.trials:
        return []
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    low, high = arm.learning_rate_range or (start / RANGE, start * RANGE)
    rates = optuna.distributions.FloatDistribution(low, high, log=True)
    seed = int(canonical_hash([arm.name, len(done)])[:8], 16)
    sampler = optuna.samplers.TPESampler(n_startup_trials=min(10, max(2, tuning.trials // 3)), seed=seed)
    study = optuna.create_study(direction="minimize", sampler=sampler)
    for trial in done:
        failed = trial.accuracy is None
        state = optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                params={"learning_rate": trial.rate},
                distributions={"learning_rate": rates},
                value=None if failed else trial.penalty,
                state=state,
            )
        )
    asked = study.ask({"learning_rate": rates}).params["learning_rate"]
    return [min(max(two_digits(asked), low), high)]


def check_installed(spec: StudySpec) -> None:
    """Says in good time what keeps a study from being tuned.

    Raises:
        UserError: where Optuna is asked for and is not installed.
    """
    if spec.tuning.strategy == "optuna" and spec.tuning.trials > 1:
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise UserError("tuning.strategy = 'optuna' needs Optuna: pip install 'tuneoff[optuna]'") from error
