"""`tuneoff predict`: labels for texts, from saved models."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuneoff.cli.arguments import path_given
from tuneoff.cli.exits import going_on
from tuneoff.cli.models import named_models
from tuneoff.core.errors import UserError, saying

if TYPE_CHECKING:
    from tuneoff.models.saved import SavedFolder
    from tuneoff.records.saved_model import TextRules
    from tuneoff.serving.labelling import Labeller
    from tuneoff.serving.predictor import Predictor
    from tuneoff.serving.text_rows import TextRows

EXAMPLE = 'Example: tuneoff predict studies-out/tickets/runs/lora-seed0-1a2b3c4d5e/model "The app crashes"'
STANDARD_INPUT = "-"
PROCESS = {"GOMP_SPINCOUNT": "3000", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "64"}
"""Threads that wait leave the cores to other programs, as in a study's processes. oneDNN keeps code for every number of
tokens that it has met, of which a long file has thousands: by default for a thousand shapes, half a gigabyte."""
STUDY_SETTINGS = (
    (r"data\.format = \{ (\w+) = (\S+?),? .*\}", r"--read \1=\2"),
    (r"data\.format\.(\w+) = (\S+)", r"--read \1=\2"),
    (r"set data\.format\.(\w+), probably to '([^']+)'", r"give --read \1=\2, probably"),
    (r"set data\.format\.kind to 'csv' or 'json'", "give --read kind=csv or kind=json"),
    (r"set data\.format\.(\w+) to what", r"say with --read \1=... what"),
    (r"data\.format\.(\w+)", r"--read \1"),
    (r"set --read", "give --read"),
)
"""What readers say of a study file, in the words of this command."""


def predict(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="A saved model's folder, such as a run's `model`, unless --model names it; then texts, or - for a "
            "text a line from standard input.",
            metavar="[FOLDER] [TEXT]...",
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            help="A file of texts, a quoted pattern, or a folder that `datasets` saved, as data.train of a study file.",
            metavar="FILE",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The file of labels: .csv, .tsv, .jsonl or .parquet.", metavar="FILE", parser=path_given),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model, by a name of its own; give several to ask them all.", metavar="NAME=FOLDER"),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="The column of texts.", show_default="as in the model's study", metavar="COLUMN"),
    ] = None,
    text_pair: Annotated[
        str | None,
        typer.Option(help="The column of second texts.", show_default="as in the model's study", metavar="COLUMN"),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add a column with the probability of each class.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(help="The base model, where it is not where it was: a folder or a Hub id.", metavar="ID"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    read: Annotated[
        list[str] | None,
        typer.Option(
            help="How the file is written, where that is not found out: kind, encoding, separator, quoting, header or "
            "columns, as data.format of a study file.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each text, or of what --out holds.")
    ] = False,
) -> None:
    """Label texts with saved models; a long file goes on where the same command was interrupted."""
    for variable, value in PROCESS.items():
        os.environ.setdefault(variable, value)  # read when PyTorch is imported, or first computes

    from tuneoff.models.saved import SavedFolder
    from tuneoff.report.labels import LabellingProgress, print_labelled
    from tuneoff.serving.label_file import check_out, label_into
    from tuneoff.serving.labelling import Labeller

    named, texts = _told_apart(arguments or [], model or [])
    if out is not None:
        check_out(out)
    folders = {name: SavedFolder.open(folder) for name, folder in named.items()}
    with saying(*STUDY_SETTINGS):
        rows = _rows([folder.saved.texts for folder in folders.values()], texts, file, text, text_pair, read or [])
    if rows.note is not None:
        print(f"tuneoff: {rows.note}", file=sys.stderr)
    if out is not None and rows.waits:
        raise UserError("--out goes with --file or texts, since what is piped in cannot be read again; redirect with >")
    predictor = _load(folders, base, device, precision)
    labeller = Labeller(predictor, rows, probabilities)
    if out is None:
        with saying(*STUDY_SETTINGS):
            _print(rows, labeller, predictor, as_json)
        return
    with going_on(), saying(*STUDY_SETTINGS), LabellingProgress(rows.about) as progress:
        done = label_into(out, predictor, rows, labeller, progress.told)
    if as_json:
        print(json.dumps({"out": str(out), **asdict(done), "rows_per_second": done.rows_per_second}))
    else:
        print_labelled(out, done)


def _told_apart(arguments: list[str], models: list[str]) -> tuple[Mapping[str, str | Path], list[str]]:
    """Folders by name, and texts."""
    if not models:
        if not arguments or not arguments[0]:
            raise UserError("name the folder of a saved model, such as studies-out/NAME/runs/RUN/model")
        return {"": arguments[0]}, arguments[1:]
    return named_models(models), arguments


def _rows(
    rules: list[TextRules],
    texts: list[str],
    file: str | None,
    text: str | None,
    text_pair: str | None,
    read: list[str],
) -> TextRows:
    from tuneoff.serving.text_rows import given_texts, piped_lines, rows_of_file

    if file is not None:
        if texts:
            raise UserError("give either texts or --file, not both")
        if not file:
            raise UserError("--file is empty; name a file")
        return rows_of_file(file, rules, text, text_pair, read)
    if text is not None or text_pair is not None or read:
        raise UserError("--text, --text-pair and --read are about a --file")
    if any(rule.text_pair is not None for rule in rules):
        raise UserError("the model classifies pairs of texts; give them in a --file")
    if sys.stdin is not None and (texts == [STANDARD_INPUT] or (not texts and not sys.stdin.isatty())):
        return piped_lines(sys.stdin)
    if not texts:
        raise UserError("there is nothing to label; give texts, --file, or pipe in a text a line")
    for number, given in enumerate(texts, start=1):
        if not given.strip():
            raise UserError(f"text {number} is empty")
        if any("\ud800" <= character <= "\udfff" for character in given):
            raise UserError(f"text {number} is not UTF-8")
    return given_texts(texts)


def _load(folders: dict[str, SavedFolder], base: str | None, device: str, precision: str) -> Predictor:
    from tuneoff.measure.environment import usable_cores
    from tuneoff.serving.predictor import Predictor
    from tuneoff.training.cpu import settle_on_cpu

    predictor = Predictor(folders, base, device, precision)
    if predictor.device.type == "cpu":
        settle_on_cpu(usable_cores())
    else:
        os.environ["TOKENIZERS_PARALLELISM"] = "true"  # which a GPU waits for, and which no other work suffers from
    return predictor


def _print(rows: TextRows, labeller: Labeller, predictor: Predictor, as_json: bool) -> None:
    """Labels as they come: for people in a terminal, else as lines of cells or JSON, until nobody reads them."""
    from tuneoff.core.output import nobody_reads
    from tuneoff.report.labels import LabelLines, say_without_text
    from tuneoff.serving.formats import cells, header, json_lines

    encode = json_lines if as_json else cells(",")
    lines = None
    if not as_json and sys.stdout.isatty():
        lines = LabelLines(rows, labeller, {name: saved.texts.label_names for name, saved in predictor.saved.items()})
    elif not as_json:
        sys.stdout.write(header(labeller.columns, ",").decode())
    found = without = 0
    first = None
    for piece in labeller.labelled():
        if lines is not None:
            lines.show(piece.table)
        else:
            sys.stdout.write(encode(piece.table).decode())
        sys.stdout.flush()
        found += len(piece.table)
        without += piece.without_text
        first = first or piece.first_without
        if nobody_reads():
            return
    if not found:
        raise UserError(f"{rows.table.where}: there are no texts")
    say_without_text(without, first)
