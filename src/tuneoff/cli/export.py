"""`tuneoff export`: a study's trained model in a folder of its own."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from tuneoff.cli import completion
from tuneoff.cli.arguments import Folder, Json
from tuneoff.core.errors import UserError

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
        str, typer.Option(help="Which of its runs: a seed, or that of the best validation accuracy.", metavar="N")
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
    base: Annotated[
        str | None,
        typer.Option(
            help="The base model (a folder, package:NAME or Hub id), where it is not where it was.", metavar="ID"
        ),
    ] = None,
    check: Annotated[
        str, typer.Option(help="Test texts that the export is checked on: a number or all.", metavar="N")
    ] = "2000",
    as_json: Json = False,
) -> None:
    """Write a trained model of a study into a folder, once it is shown to say there what it said in the study."""
    from tuneoff.api import load_results
    from tuneoff.core.names import did_you_mean  # which is slow to import
    from tuneoff.export.choose import choose_run
    from tuneoff.export.export import WRITERS, export_model, free_folder
    from tuneoff.export.trained import Trained
    from tuneoff.report.exported import print_export

    if arm is not None and recommended:
        raise UserError("--arm names an arm, and --recommended leaves it to the study; give one of them")
    formats = {name: name for name in WRITERS}
    if form not in formats:
        raise UserError(f"--format: there is no '{form}'{did_you_mean(form, formats)}")
    target = free_folder(to)
    results = load_results(folder)
    chosen = choose_run(results, arm, None if seed == BEST else _number("--seed", seed, BEST, 0))
    say = _say_nothing if as_json else _say
    for sentence in chosen.why:
        say(sentence)
    trained = Trained.of_run(results, chosen.run, target, base)
    saved = export_model(
        trained, target, formats[form], say, None if check == ALL else _number("--check", check, ALL, 1)
    )
    if as_json:
        print(json.dumps({"folder": str(target), "why": chosen.why, "model": saved.model_dump(mode="json")}))
    else:
        print_export(saved, target, to, trained.base_folder)


def _number(option: str, text: str, word: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise UserError(f"{option} is a number from {least} on, or {word}; '{text}' is neither")
    return int(text)


def _say(message: str) -> None:
    print(message)
    sys.stdout.flush()


def _say_nothing(message: str) -> None: ...
