"""`tuneoff plan`: what a study would do, and whether it fits into a GPU's memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from tuneoff.cli.arguments import Json, Set, Study, quantity, say_line, say_nothing, say_which
from tuneoff.core.errors import UserError
from tuneoff.core.quantities import parse_bytes

if TYPE_CHECKING:
    from tuneoff.spec import StudySpec


def plan(
    study: Study = "quickstart",
    overrides: Set = None,
    gpu_memory: Annotated[
        str | None,
        typer.Option(help="Foretell each arm's memory on a GPU with so much, such as 24GB.", metavar="SIZE"),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Take a few real steps of each arm to say how long the study takes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the runs of a study and what each arm trains, without training or writing anything.

    With --gpu-memory, show instead what each arm takes of a GPU's memory, whether it fits, and what to change; that
    needs no GPU, and none of the model's weights. With --probe, show how long its runs and the study take here.
    """
    from tuneoff.spec import load_study

    size = None if gpu_memory is None else quantity("--gpu-memory", gpu_memory, parse_bytes)
    spec = load_study(study, overrides or [])
    if not as_json:
        say_which(study, spec)
    if size is not None and probe:
        raise UserError("--gpu-memory and --probe answer different questions; ask for one at a time")
    if size is not None:
        _plan_memory(spec, size, as_json)
    elif probe:
        _plan_times(spec, as_json)
    else:
        _plan_runs(spec, as_json)


def _plan_runs(spec: StudySpec, as_json: bool) -> None:
    from tuneoff.analysis.reach import margin_in_reach
    from tuneoff.analysis.tuning import few_validation_examples
    from tuneoff.report.terminal import print_plan
    from tuneoff.study.preview import outline_study

    outlined = outline_study(spec, say_nothing if as_json else say_line)
    margin = margin_in_reach(
        spec.analysis.margin,
        len(spec.arms),
        len(spec.seeds),
        outlined.sizes["test"],
        outlined.example_unit,
        spec.metric,
    )
    of_accuracy = outlined.trials.runs and spec.objective == "accuracy"
    few = few_validation_examples(part.sizes for part in outlined.parts) if of_accuracy else None
    trials = outlined.trials.model_copy(update={"few_validation": few})
    outlined = outlined.model_copy(update={"margin": margin, "trials": trials})
    if as_json:
        print(json.dumps(outlined.model_dump(mode="json")))
    else:
        print_plan(outlined)


def _plan_memory(spec: StudySpec, gpu_memory: int, as_json: bool) -> None:
    from tuneoff.report.memory import print_memory
    from tuneoff.study.memory import outline_memory

    outlined = outline_memory(spec, gpu_memory)
    if as_json:
        print(json.dumps(outlined.model_dump(mode="json")))
    else:
        print_memory(outlined)


def _plan_times(spec: StudySpec, as_json: bool) -> None:
    from tuneoff.report.times import print_times
    from tuneoff.study.probe import probe_study

    probed = probe_study(spec, say_nothing if as_json else say_line)
    if as_json:
        print(json.dumps(probed.model_dump(mode="json")))
    else:
        print_times(probed)
