"""`tuneoff methods`: what there is, what one is, and what each would train of a model."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tuneoff.cli import completion
from tuneoff.cli.arguments import Json


def methods(
    name: Annotated[
        str | None,
        typer.Argument(help="A method to explain; all are listed without.", autocompletion=completion.methods),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Count what each would train of this model (a folder, package:NAME or Hub id).", metavar="ID"
        ),
    ] = None,
    classes: Annotated[int, typer.Option(help="With --model: so many classes.", min=2)] = 2,
    as_json: Json = False,
) -> None:
    """List the fine-tuning methods, explain one, or count what each would train of a model."""
    from tuneoff.core.errors import UserError, saying
    from tuneoff.report.methods import print_method, print_methods, print_methods_on
    from tuneoff.spec.arms import METHODS

    found = METHODS.classes()
    if name is not None:
        try:
            found = {name: METHODS.named(name)}
        except ValueError as error:
            raise UserError(f"{error}; `tuneoff methods` lists all") from error
    if model is not None:
        from tuneoff.models.saved import NO_STUDY_FILE
        from tuneoff.study.methods_on import methods_on

        with saying((r"\bmodel\.id: ", "--model: "), (NO_STUDY_FILE[0], "name a local folder")):
            counted = methods_on(model, classes, found)
        if as_json:
            print(json.dumps([one.model_dump(mode="json") for one in counted]))
        else:
            print_methods_on(model, classes, counted)
        return
    described = {method: kind.describe() for method, kind in found.items()}
    if as_json:
        print(json.dumps({method: one.model_dump(mode="json") for method, one in described.items()}))
    elif name is not None:
        print_method(described[name])
    else:
        print_methods(list(described.values()))
