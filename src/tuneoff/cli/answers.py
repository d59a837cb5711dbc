"""`tuneoff recommend` and `tuneoff compare`: what stored results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tuneoff.cli import completion
from tuneoff.cli.arguments import Folder, Json, path_given


def recommend(
    folder: Folder,
    prefer: Annotated[
        str | None,
        typer.Option(
            help="What is cheap: memory, time, parameters, checkpoint, cost or latency.",
            metavar="COST",
            autocompletion=completion.costs,
        ),
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Most memory in training, such as 4GB.", metavar="SIZE")
    ] = None,
    max_train_time: Annotated[
        str | None, typer.Option(help="Longest time to train, such as 10m.", metavar="TIME")
    ] = None,
    min_accuracy: Annotated[
        str | None, typer.Option(help="Lowest mean test accuracy, such as 0.9.", metavar="SHARE")
    ] = None,
    margin: Annotated[
        str | None, typer.Option(help="Accuracy that may be lost, such as 0.02.", metavar="SHARE")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which arm of a study to use, from its stored results; what is left out is as the study file says."""
    from tuneoff.analysis.summary import recommend_anew
    from tuneoff.api import load_results
    from tuneoff.report import words
    from tuneoff.report.terminal import print_lines
    from tuneoff.spec import ask_otherwise

    results = load_results(folder)
    given = {
        "prefer": prefer,
        "max_memory": max_memory,
        "max_train_time": max_train_time,
        "min_accuracy": min_accuracy,
        "margin": margin,
    }
    summary = recommend_anew(results, ask_otherwise(results.spec.analysis, given))
    if as_json:
        print(json.dumps(summary.recommendation.model_dump(mode="json")))
    else:
        print_lines([words.verdict(summary), *words.excluded(summary)])


def compare(
    a: Annotated[
        Path,
        typer.Argument(
            help="A study's folder.", metavar="A", parser=path_given, autocompletion=completion.study_folders
        ),
    ],
    others: Annotated[
        list[Path],
        typer.Argument(
            help="Others on the same data, each of which is compared with A.",
            metavar="B",
            parser=path_given,
            autocompletion=completion.study_folders,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Put studies on the same data side by side; exit code 2 where their results cannot be compared."""
    from tuneoff.analysis.compare import compare_studies
    from tuneoff.api import load_results
    from tuneoff.report.compare import print_comparison

    compared = compare_studies(*map(load_results, [a, *others]))
    if as_json:
        print(json.dumps(compared.model_dump(mode="json")))
    else:
        print_comparison(compared)
