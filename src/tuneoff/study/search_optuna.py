"""The search for a learning rate by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash
from tuneoff.study.rates import two_digits

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec, TuningSpec
    from tuneoff.spec.arms import ArmSpec
    from tuneoff.study.search import Trial

RANGE = 10
"""Where an arm declares no range, it looks from the starting rate divided by this to that multiplied by it."""
ASKED_AGAIN = 20
"""How often Optuna is asked for a rate that was not tried yet, before the nearest such one is taken."""
STARTUP = 10
"""Most trials that are drawn at random, before the estimator has enough to go by."""


class OptunaSearch:
    """Optuna's search for the rate of one arm on one part of the data.

    Each proposal has a random seed of its own, from the arm's name and the number of trials before it, so that a study
    that was interrupted goes on with the proposals that it would have had.

    Args:
        tuning: the study's.
        arm: that is tuned, at its starting rate.
    """

    def __init__(self, tuning: TuningSpec, arm: ArmSpec) -> None:
        self._trials = tuning.trials
        self._startup = min(STARTUP, max(2, tuning.trials // 3))
        self._name = arm.name
        self._low, self._high = arm.learning_rate_range or (arm.rate / RANGE, arm.rate * RANGE)
        self._told: list[Trial] = []
        self._proposed: dict[int, list[float]] = {}
        self._study: Any = None

    def proposals(self, done: Sequence[Trial]) -> list[float]:
        """The learning rate to try next, given all trials; none once there were enough, or no other rate is left.

        Asked for fewer trials than before, it gives the answer that it gave then.
        """
        if len(done) >= self._trials:
            return []
        if self._told[: len(done)] != list(done[: len(self._told)]):  # a trial that had failed was done again
            self._told, self._proposed, self._study = [], {}, None
        if len(done) not in self._proposed:
            assert len(done) >= len(self._told)
            for trial in done[len(self._told) :]:
                self._tell(trial)
            self._proposed[len(done)] = self._ask()
        return self._proposed[len(done)]

    def _tell(self, trial: Trial) -> None:
        """Adds a trial; one that diverged is as bad as can be, and one that failed for another reason says nothing."""
        import optuna

        silent = trial.score is None and not trial.too_high
        self._study = self._study or self._new_study()
        self._study.add_trial(
            optuna.trial.create_trial(
                params={"learning_rate": trial.rate},
                distributions={"learning_rate": self._rates},
                value=None if silent else trial.penalty,
                state=optuna.trial.TrialState.FAIL if silent else optuna.trial.TrialState.COMPLETE,
            )
        )
        self._told.append(trial)

    def _ask(self) -> list[float]:
        """A rate of two digits that was not tried yet: Optuna's, or the one nearest to it in the range."""
        import optuna

        self._study = self._study or self._new_study()
        tried = {trial.rate for trial in self._told}
        seed = int(canonical_hash([self._name, len(self._told)])[:8], 16)
        self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=self._startup, seed=seed)
        first = None
        for _ in range(ASKED_AGAIN):
            asked = self._study.ask({"learning_rate": self._rates})
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)  # what comes of it is told with its two digits
            rate = self._within(asked.params["learning_rate"])
            if rate not in tried:
                return [rate]
            first = first or rate
        assert first is not None
        return self._nearest(first, tried)

    def _nearest(self, rate: float, tried: set[float]) -> list[float]:
        """The untried rate of two digits that is fewest steps of the second digit away; none where there is none."""
        lower = upper = rate
        while lower > self._low or upper < self._high:
            lower, upper = self._beside(lower, down=True), self._beside(upper, down=False)
            for candidate in (lower, upper):
                if candidate not in tried:
                    return [candidate]
        return []

    def _beside(self, rate: float, down: bool) -> float:
        digits, exponent = f"{rate:.1e}".split("e")
        tenths = round(float(digits) * 10) + (-1 if down else 1)
        step = f"{tenths}e{int(exponent) - 1}" if tenths >= 10 else f"99e{int(exponent) - 2}"
        return self._within(float(step))

    def _within(self, rate: float) -> float:
        return min(max(two_digits(rate), self._low), self._high)

    @property
    def _rates(self) -> Any:
        import optuna

        return optuna.distributions.FloatDistribution(self._low, self._high, log=True)

    def _new_study(self) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return optuna.create_study(direction="minimize")


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
