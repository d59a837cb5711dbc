"""Training a run of a study once more, on more of its labelled rows, before it is handed over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tuneoff.core import hub
from tuneoff.core.errors import UserError
from tuneoff.core.files import canonical_hash, file_hash, read_json, remove_temporaries, write_json
from tuneoff.core.long_texts import LongTexts
from tuneoff.core.texts import counted
from tuneoff.data.cache import damage
from tuneoff.data.conventions import SPLITS
from tuneoff.data.parts import WHOLE, tokens_path
from tuneoff.data.prepared import TARGETS, load_tokens
from tuneoff.models.fingerprint import Stamp, stamp_folder
from tuneoff.models.load import resolve_model
from tuneoff.models.saved import SavedFolder, named_base
from tuneoff.records.refit import Refit, ScoresOnTest
from tuneoff.records.run import ScoredRun, UnsuccessfulRun
from tuneoff.records.saved_model import REFIT_WORDS, RefitRows
from tuneoff.report.words import score
from tuneoff.runs.files import MODEL, PREDICTIONS
from tuneoff.runs.run import Run
from tuneoff.spec.schema import EXECUTORS
from tuneoff.study.ahead import Ahead
from tuneoff.study.interruption import Interruption
from tuneoff.study.listener import Silent
from tuneoff.study.lock import locked
from tuneoff.study.pins import pin_to_commits
from tuneoff.study.rates import at_rate
from tuneoff.study.run_task import make_task
from tuneoff.study.scheduler import Scheduler
from tuneoff.study.store import Store
from tuneoff.training.loop import total_steps
from tuneoff.training.signs import NEAR_GUESSING, Signs

if TYPE_CHECKING:
    import pandas as pd

    from tuneoff.analysis.results import StudyResults
    from tuneoff.records.run import RunResult
    from tuneoff.runs.allocation import Allocation
    from tuneoff.runs.progress import RunProgress
    from tuneoff.study.listener import Listener

REFITS = "refits"
"""The folder of a study that holds refits, laid out as `runs` is."""
REFIT = "refit.json"
"""What a refit came to; written last, it makes the refit whole."""
DATA = "data"
"""The splits that a refit is trained and scored on; there while it trains."""
TRAINED_ON: dict[RefitRows, tuple[str, ...]] = {"train+validation": ("train", "validation"), "all": SPLITS}


@dataclass(frozen=True)
class Refitted:
    """A refit that has come to its end.

    Attributes:
        folder: of its files.
        record: what it came to.
    """

    folder: Path
    record: Refit

    @property
    def model(self) -> Path:
        """The folder of the trained model, as a run's is."""
        return self.folder / MODEL

    def predictions(self) -> pd.DataFrame:
        """What it says of the study's test split, as in a run's `predictions.parquet`.

        They prove that a model loads as it was trained; of a refit on all rows they say nothing of how good it is.
        """
        import pandas as pd

        return pd.read_parquet(self.folder / PREDICTIONS)


def refit(
    results: StudyResults,
    run: ScoredRun,
    rows: RefitRows,
    base: str | None = None,
    listener: Listener | None = None,
) -> Refitted:
    """Trains a run once more on more rows: its arm, learning rate and seed, with as many epochs as the study has.

    Where the study selects the best epoch, it ends after that of the run, on the same way of the learning rate.

    It is carried out as the study's runs are, on what they would be computed on now, and stays in the study's folder:
    asked for again, it is not repeated. Rows are those of the run's part: of a fold, `all` are all of the study's rows,
    and `train+validation` leaves the fold's own test examples; of several training sizes, that size and the splits that
    all sizes share.

    Args:
        results: of the study.
        run: one of its runs.
        rows: what is trained on. What is left of `train+validation` is tested on.
        base: a folder, `package:NAME` or Hub id of the pretrained model, where it is not found as the study names it.
        listener: told how it goes.

    Raises:
        UserError: where it cannot be carried out, failed, or did not learn; nothing of it is left then.
        KeyboardInterrupt: on request; the same call goes on from its checkpoint.
    """
    listener = listener or Silent()
    interruption = Interruption()
    with interruption.caught(), locked(results.folder), hub.telling(listener.say):
        model, stamp = _model_folder(results, base)
        _check_data(results)
        executor_class = EXECUTORS.named(results.spec.execution.executor)
        executor_class.warm_up()
        store = _RefitStore(results.folder / REFITS)
        remove_temporaries(store.folder)
        with executor_class(results.spec.execution, results.spec.training) as executor:
            planned, examples = _plan(results, run, rows, executor.allocation)
            found = _found(store.run_folder(planned.id))
            if found is not None:
                listener.say(f"{run.arm} was trained on {REFIT_WORDS[rows]} before; that refit is used")
                return found
            _say_what_differs(run, executor.allocation, listener)
            folder = store.run_folder(planned.id)
            task = make_task(
                planned,
                pin_to_commits(results.spec, results.folder, listener.say),
                results.prepared,
                executor.allocation,
                model,
                folder / DATA,
                folder,
                refit=rows,
            )
            if run.temperature is not None:
                decisions = {"temperature": run.temperature, "thresholds": run.thresholds}
                task = replace(task, texts=task.texts.model_copy(update=decisions))
            if results.spec.training.select == "best":  # what is validated on is trained on, so that nothing can choose
                training = task.training.model_copy(update={"select": "last", "patience": None})
                task = replace(task, training=training, epochs=run.selected_epoch)
            told = _Told(listener, rows, examples, results.objective.label)
            told.planned(1, 0, planned.steps, "refit", Ahead())
            with _joined_data(results, run.part, rows, task.texts.long_texts, folder / DATA):
                Scheduler(executor, store, stamp, told, interruption).execute([task])
            try:
                result = _succeeded(store.ended[planned.id], run)
            except UserError:
                shutil.rmtree(folder)
                raise
            return _finished(folder, result, run, rows, examples)


class _RefitStore(Store):
    """Keeps results in memory: their validation accuracy, of rows that were trained on, is to be seen nowhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ended: dict[str, RunResult] = {}

    def run_folder(self, run_id: str) -> Path:
        return self.folder / run_id

    def _keep(self, folder: Path, result: RunResult) -> None:
        self.ended[result.run_id] = result


class _Told(Silent):
    """Tells a listener what there is to say of a refit, and no accuracy on rows that it was trained on."""

    def __init__(self, listener: Listener, rows: RefitRows, examples: dict[str, int], metric: str) -> None:
        self._listener = listener
        self._metric = metric
        self._rows = rows
        self._examples = examples

    def say(self, message: str) -> None:
        self._listener.say(message)

    def planned(self, runs: int, done: int, steps: int, what: str, ahead: Ahead) -> None:
        self._listener.planned(runs, done, steps, what, ahead)

    def run_started(self, run: Run) -> None:
        self._listener.run_started(run)

    def progressed(self, run: Run, progress: RunProgress) -> None:
        self._listener.progressed(run, progress)

    def run_finished(self, run: Run, result: RunResult) -> None:
        if isinstance(result, ScoredRun):
            tested = (
                f"test {self._metric} {score(result.score, self._metric)}"
                if self._rows == "train+validation"
                else "not tested, since no labelled row was left"
            )
            count = counted(sum(self._examples.values()), "example")
            self._listener.say(
                f"{run.arm.name} was trained on {REFIT_WORDS[self._rows]} ({count}) in {result.train_seconds:.1f} s: "
                f"{tested}"
            )


def _model_folder(results: StudyResults, base: str | None) -> tuple[Path, Stamp]:
    """The pretrained model that the study was made with."""
    spec = results.spec.model
    try:
        folder = resolve_model(spec.id, spec.revision) if base is None else named_base(base)
    except UserError as error:
        raise UserError(f"{error}; a refit needs the pretrained model: name it with --base FOLDER") from error
    stamp = stamp_folder(folder)
    if stamp.fingerprint != results.prepared.model_fingerprint:
        raise UserError(
            f"the model in '{base or spec.id}' is not the one that the study was made with (its files differ); name "
            "the right one with --base FOLDER"
        )
    return folder, stamp


def _check_data(results: StudyResults) -> None:
    folder = results.folder / "data"
    damaged = damage(folder)
    if damaged is not None:
        raise UserError(f"{folder}: {damaged}; `tuneoff run` with the same study prepares it again")


def _plan(results: StudyResults, run: ScoredRun, rows: RefitRows, allocation: Allocation) -> tuple[Run, dict[str, int]]:
    """The refit as a run, and the examples that it is trained on by split; its id has all that decides its result."""
    arm = at_rate(next(arm for arm in results.spec.arms if arm.name == run.arm), run.learning_rate)
    sizes = results.prepared.part(run.part).sizes
    examples = {split: sizes[split] for split in TRAINED_ON[rows]}
    steps = total_steps(sum(examples.values()), results.spec.training)
    digest = canonical_hash([run.run_id, rows, allocation.decisive(arm)])[:10]
    named = [] if run.part == WHOLE else [run.part]
    refit_id = "-".join([run.arm, f"seed{run.seed}", *named, rows, digest])
    return Run(refit_id, arm, run.seed, steps, run.part), examples


def _say_what_differs(run: ScoredRun, allocation: Allocation, listener: Listener) -> None:
    then = (run.conditions.device_type, run.conditions.precision)
    now = (allocation.device, allocation.precision)
    if then != now:
        listener.say(f"The refit is computed on {now[0]} in {now[1]}; the study's run was on {then[0]} in {then[1]}")


@contextmanager
def _joined_data(
    results: StudyResults, part: str, rows: RefitRows, long_texts: LongTexts, folder: Path
) -> Iterator[None]:
    """The splits of a refit while it trains: as `train` the study's that it is trained on, end to end, beside the rest.

    The training loop evaluates on `validation` after each epoch; what comes of it means nothing here and is not kept.
    """
    from tuneoff.data.tokens import write_joined

    tokens = load_tokens(results.folder / "data", long_texts, part)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        write_joined([tokens[split] for split in TRAINED_ON[rows]], folder / tokens_path(part, "train", long_texts))
        for split in ("validation", "test"):
            write_joined([tokens[split]], folder / tokens_path(part, split, long_texts))
        if (targets := results.folder / "data" / TARGETS).exists():
            shutil.copyfile(targets, folder / TARGETS)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it holds what was trained, or a checkpoint
            folder.parent.rmdir()


def _succeeded(result: RunResult, run: ScoredRun) -> ScoredRun:
    """A refit's result where it can be handed over."""
    if isinstance(result, UnsuccessfulRun):
        raise UserError(f"the refit of {result.arm} came to no end ({result.status}): {result.error}")
    assert isinstance(result, ScoredRun)
    if not _learned(result) and _learned(run):
        raise UserError(
            f"the refit of {result.arm} did not learn, as the study's run did: its training loss stayed near that of "
            "guessing; export the study's run without a refit, or another seed"
        )
    return result


def _learned(run: ScoredRun) -> bool:
    """Whether the training loss left that of guessing, of a run that has one."""
    signs = Signs.of(run)
    return signs is None or signs.final_loss <= NEAR_GUESSING


def _finished(folder: Path, result: ScoredRun, run: ScoredRun, rows: RefitRows, examples: dict[str, int]) -> Refitted:
    """Writes what a refit came to, and removes what only served on the way."""
    assert result.predictions_sha256 is not None
    import pandas as pd

    tested = ScoresOnTest(
        accuracy=result.test_accuracy,
        macro_f1=result.test_macro_f1,
        metrics=result.test_metrics,
        examples=len(pd.read_parquet(folder / PREDICTIONS, columns=["label"])),
    )
    record = Refit(
        refit_id=result.run_id,
        run_id=run.run_id,
        rows=rows,
        examples=examples,
        arm=result.arm,
        method=result.method,
        seed=result.seed,
        part=result.part,
        learning_rate=result.learning_rate,
        steps=result.steps,
        test=tested if rows == "train+validation" else None,
        train_seconds=result.train_seconds,
        conditions=result.conditions,
        predictions_sha256=result.predictions_sha256,
    )
    for log in folder.glob("log*.txt"):  # which holds what the loop thought of rows that it was trained on
        log.unlink()
    write_json(folder / REFIT, record.model_dump(mode="json"))
    return Refitted(folder, record)


def _found(folder: Path) -> Refitted | None:
    """A refit that came to its end before and is as it was; None where it is to be made."""
    try:
        record = Refit.model_validate(read_json(folder / REFIT))
        whole = file_hash(folder / PREDICTIONS) == record.predictions_sha256
        SavedFolder.open(folder / MODEL)
    except (OSError, ValueError, ValidationError):  # a UserError is a ValueError
        return None
    return Refitted(folder, record) if whole else None
