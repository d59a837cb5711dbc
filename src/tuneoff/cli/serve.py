"""`tuneoff serve`: saved models behind HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from tuneoff.cli.arguments import quantity
from tuneoff.cli.models import named_models
from tuneoff.core.errors import UserError
from tuneoff.core.quantities import parse_bytes, parse_seconds


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders of saved models: a run's, or from `tuneoff export`; NAME=FOLDER gives one a name.",
            metavar="FOLDER",
        ),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at.", metavar="HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535, metavar="PORT")] = 8000,
    base: Annotated[
        str | None, typer.Option(help="The base model, where it is not where it was.", metavar="FOLDER")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", metavar="NAME")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.", metavar="NAME")] = "auto",
    max_inputs: Annotated[int, typer.Option(help="Most texts of a request.", min=1, metavar="N")] = 128,
    max_body: Annotated[str, typer.Option(help="Largest body of a request.", metavar="SIZE")] = "2MB",
    max_waiting: Annotated[int, typer.Option(help="Most requests that wait.", min=1, metavar="N")] = 512,
    timeout: Annotated[str, typer.Option(help="Longest time until an answer.", metavar="TIME")] = "60s",
) -> None:
    """Answer requests with saved models, as text-embeddings-inference does, until Ctrl-C."""
    from tuneoff.serving.address import bound
    from tuneoff.serving.limits import Limits

    seconds = quantity("--timeout", timeout, parse_seconds)
    usual = Limits()
    limits = Limits(
        body_bytes=quantity("--max-body", max_body, parse_bytes),
        inputs=max_inputs,
        waiting=max_waiting,
        seconds=seconds,
        header_seconds=min(seconds, usual.header_seconds),
        body_seconds=min(seconds, usual.body_seconds),
    )
    folders = named_models(models)
    with bound(host, port) as listening:
        try:
            from tuneoff.serving.server import serve as start
        except ModuleNotFoundError as error:
            if error.name not in ("fastapi", "starlette", "uvicorn", "prometheus_client"):
                raise
            raise UserError(f"serve needs the package {error.name}: pip install 'tuneoff[serve]'") from error
        start(folders, listening, host, base, device, precision, limits)
