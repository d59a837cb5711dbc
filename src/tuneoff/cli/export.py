"""`tuneoff export`: a study's trained model in a folder of its own."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tuneoff.cli import completion
from tuneoff.cli.arguments import Folder, Json, say_nothing
from tuneoff.cli.exits import going_on
from tuneoff.core.errors import UserError

if TYPE_CHECKING:
    from tuneoff.api import StudyResults
    from tuneoff.export.refit import Refitted
    from tuneoff.records.run import ScoredRun
    from tuneoff.records.saved_model import RefitRows

BEST = "best-validation"
ALL = "all"


def export(
    folder: Folder,
    to: Annotated[str, typer.Option(help="The folder that is written; not there yet, or empty.", metavar="FOLDER")],
    arm: Annotated[
        str | None, typer.Option(help="The arm.", show_default="the recommended one", metavar="NAME")
    ] = None,
    recommended: Annotated[bool, typer.Option("--recommended", help="The arm that the study recommends.")] = False,
    seed: Annotated[
        str, typer.Option(help="Which of its runs: a seed, or that of the best validation score.", metavar="N")
    ] = BEST,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="model (as it was saved: an adapter or all weights), merged (all weights in full precision, for "
            "transformers alone) or onnx.",
            metavar="NAME",
            autocompletion=completion.exports,
        ),
    ] = "model",
    rows: Annotated[
        str | None,
        typer.Option(
            "--refit",
            help="Train it once more before, on train+validation or on all labelled rows.",
            metavar="ROWS",
            autocompletion=completion.refits,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The base model (a folder, package:NAME or Hub id), where it is not where it was.", metavar="ID"
        ),
    ] = None,
    check: Annotated[
        str, typer.Option(help="Test texts that the export is checked on: a number or all.", metavar="N")
    ] = "2000",
    repository: Annotated[
        str | None,
        typer.Option("--push-to-hub", help="Push it to the Hugging Face Hub as well, with your login.", metavar="REPO"),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody read a repository that is new.")] = False,
    as_json: Json = False,
) -> None:
    """Write a trained model of a study into a folder, once it is shown to say there what it said in the study."""
    from tuneoff.api import load_results
    from tuneoff.core.names import did_you_mean  # which is slow to import
    from tuneoff.export.card import write_card
    from tuneoff.export.choose import choose_run
    from tuneoff.export.export import WRITERS, export_model, free_folder
    from tuneoff.export.push import check_push, push_to_hub
    from tuneoff.export.refit import TRAINED_ON
    from tuneoff.export.trained import Trained
    from tuneoff.report.exported import print_export

    if arm is not None and recommended:
        raise UserError("--arm names an arm, and --recommended leaves it to the study; give one of them")
    formats, refits = {name: name for name in WRITERS}, {name: name for name in TRAINED_ON}
    if form not in formats:
        raise UserError(f"--format: there is no '{form}'{did_you_mean(form, formats)}")
    if rows is not None and rows not in refits:
        raise UserError(f"--refit: it is {' or '.join(refits)}; '{rows}' is neither{did_you_mean(rows, refits)}")
    most = None if check == ALL else _number("--check", check, ALL, 1)
    results = load_results(folder)
    target = free_folder(to, results.folder)
    chosen = choose_run(results, arm, None if seed == BEST else _number("--seed", seed, BEST, 0))
    if repository is not None:
        check_push(repository)
    say = say_nothing if as_json else _say
    for sentence in chosen.why:
        say(sentence)
    refitted = None
    if rows is None:
        trained = Trained.of_run(results, chosen.run, target, base)
    else:
        refitted = _refitted(results, chosen.run, refits[rows], base, as_json)
        trained = Trained.of_folder(refitted.model, results, chosen.run.part, refitted.predictions(), target, base)
    record = None if refitted is None else refitted.record
    saved = export_model(
        trained,
        target,
        formats[form],
        say,
        most,
        lambda new, saved: write_card(new, results, chosen.run, saved, record, repository),
    )
    if not as_json:
        print_export(saved, target, to, trained.base_folder)
    pushed = None if repository is None else push_to_hub(target, repository, say, public)
    if as_json:
        model = saved.model_dump(mode="json")
        refit = record and record.model_dump(mode="json")
        told = {"folder": str(target), "why": chosen.why, "model": model, "refit": refit, "pushed": pushed}
        print(json.dumps(told))


def _refitted(results: StudyResults, run: ScoredRun, rows: RefitRows, base: str | None, quiet: bool) -> Refitted:
    from tuneoff.export.refit import refit
    from tuneoff.report.terminal import Progress

    with going_on():
        if quiet:
            return refit(results, run, rows, base)
        with Progress(results.objective.label) as progress:
            return refit(results, run, rows, base, progress)


def _number(option: str, text: str, word: str, least: int) -> int:
    try:
        number = int(text) if text.isascii() and text.isdigit() else None
    except ValueError:  # of more digits than Python takes
        number = None
    if number is None or number < least:
        raise UserError(f"{option} is a number from {least} on, or {word}; '{text}' is neither")
    return number


def _say(message: str) -> None:
    print(message)
    sys.stdout.flush()
