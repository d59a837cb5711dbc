"""The command line: thin, and quick to answer, since everything heavy is imported where it is used."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tuneoff.cli import completion, predict
from tuneoff.cli.answers import compare, recommend
from tuneoff.cli.arguments import Folder, Json, Set, Study, path_given, say_line, say_nothing, say_which
from tuneoff.cli.exits import INTERRUPTED, exit_code, going_on
from tuneoff.cli.export import export
from tuneoff.cli.methods import methods
from tuneoff.cli.plan import plan
from tuneoff.cli.serve import serve
from tuneoff.core.errors import UserError
from tuneoff.core.output import outlast_readers, output_was_lost
from tuneoff.core.processes import HANGUP, SIGNALS
from tuneoff.core.quiet import silence_libraries

app = typer.Typer(
    name="tuneoff",
    help="Which fine-tuning method should I use, what does it cost, and what do I lose?",
    epilog="Example: tuneoff run quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors; the exit code says it all.")]


@app.command(epilog="Example: tuneoff run imdb-roberta --out results --set seeds=3")
def run(
    study: Study = "quickstart",
    out: Annotated[
        Path | None,
        typer.Option(help="The study's folder.", show_default="studies-out/<name>", metavar="DIR", parser=path_given),
    ] = None,
    overrides: Set = None,
    workers: Annotated[
        str | None, typer.Option(help="Runs at a time: auto or a number; sets execution.workers.", metavar="N")
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="local or ray; sets execution.executor.", autocompletion=completion.executors),
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Write summary.json alone; 'tuneoff report' writes the rest.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Carry out a study, or what is left of it, and write its report."""
    options = {"workers": workers, "executor": executor, "fail_fast": "true" if fail_fast else None}
    given = [f"execution.{name}={value}" for name, value in options.items() if value is not None]
    _run(study, out, [*(overrides or []), *given], quiet, as_json, report=not no_report)


@app.command(epilog="Example: tuneoff retry studies-out/quickstart --set execution.max_run_time=2h")
def retry(folder: Folder, overrides: Set = None, quiet: Quiet = False, as_json: Json = False) -> None:
    """Try the runs of a study again that failed, ran out of memory or took too long."""
    from tuneoff.study.store import no_study

    study = folder / "study.toml"
    if not study.is_file():
        raise no_study(folder, "study.toml")
    _run(str(study), folder, overrides or [], quiet, as_json, retry_failed=True)


def _run(
    study: str,
    out: Path | None,
    overrides: list[str],
    quiet: bool,
    as_json: bool,
    retry_failed: bool = False,
    report: bool = True,
) -> None:
    from tuneoff.api import run_study
    from tuneoff.report.terminal import Progress, print_results
    from tuneoff.spec import load_study

    spec = load_study(study, overrides)
    with going_on():
        if quiet or as_json:
            results = run_study(spec, out, None, retry_failed, report)
        else:
            with Progress(spec.metric) as progress:
                results = run_study(spec, out, progress, retry_failed, report)
    if as_json:
        summary = results.summary.model_dump(mode="json")
        print(json.dumps({"folder": str(results.folder), "summary": summary}))
    elif not quiet:
        print_results(results)
    if results.failed or results.failed_trials:
        raise typer.Exit(1)


@app.command(epilog="Example: tuneoff init tickets.csv --model FacebookAI/roberta-base")
def init(
    data: Annotated[
        list[str],
        typer.Argument(
            help="A file, a quoted pattern, or a folder that `datasets` saved; or several, named train and test.",
            metavar="DATA",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="A Hub id, a local folder, or package:NAME; it has to be named.", metavar="ID"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The study file.", show_default="named after the data", metavar="FILE", parser=path_given),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The column of texts.", show_default="found out", metavar="COLUMN")
    ] = None,
    text_pair: Annotated[
        str | None,
        typer.Option(help="The column of second texts, where an example is two.", metavar="COLUMN"),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="The column of classes.", show_default="found out", metavar="COLUMN")
    ] = None,
) -> None:
    """Look at data, say what it seems to be, and write a commented study file to start from."""
    from tuneoff.core.offline import offline_model
    from tuneoff.study.init import init_study

    if model is None:
        offline = offline_model()
        installed = f" ('{offline}' is installed, and needs no network)" if offline else ""
        raise UserError(
            f"name a pretrained model with --model: a Hub id, a local folder, or package:NAME{installed}; see "
            "tuneoff init --help"
        )
    path = init_study(data, model, out, print, text=text, text_pair=text_pair, label=label)
    print(f"wrote       {path}; next: {shlex.join(['tuneoff', 'plan', str(path)])}")


@app.command(epilog="Example: tuneoff audit study.toml --json")
def audit(study: Study = "quickstart", overrides: Set = None, as_json: Json = False) -> None:
    """Check a study's data for what would make its result worthless; exit code 2 where it would be stopped."""
    from tuneoff.report.audit import print_audit
    from tuneoff.spec import load_study
    from tuneoff.study.prepare import audit_study

    spec = load_study(study, overrides or [])
    if not as_json:
        say_which(study, spec)
    found = audit_study(spec, say_nothing if as_json else say_line)
    if as_json:
        print(json.dumps([finding.model_dump(mode="json") for finding in found]))
    else:
        print_audit(found)
    if any(finding.severity == "error" and not finding.accepted for finding in found):
        raise typer.Exit(2)


@app.command(epilog="Example: tuneoff status studies-out/quickstart")
def status(folder: Folder, as_json: Json = False) -> None:
    """Show which runs of a study are done, running, failed and left, and the time left; also while it runs."""
    from tuneoff.report.tally import Tally
    from tuneoff.report.terminal import print_status
    from tuneoff.spec import load_study
    from tuneoff.study.ahead import ahead_in
    from tuneoff.study.lock import running_driver
    from tuneoff.study.store import Store

    states = Store(folder).states()
    ahead = ahead_in(folder, [state.entry for state in states])
    if as_json:
        driver, left = running_driver(folder), Tally.of(states).seconds_left(ahead)
        told = driver and driver.model_dump(mode="json")
        runs = [state.as_json() for state in states]
        print(json.dumps({"driver": told, "seconds_left": left, "ahead": asdict(ahead), "runs": runs}))
    else:
        print_status(states, ahead, load_study(folder / "study.toml").metric)


@app.command(epilog="Example: tuneoff report studies-out/quickstart --format html,pdf")
def report(
    folder: Folder,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="Any of html, md, pdf, notebook, csv and latex, with commas.",
            metavar="NAMES",
            autocompletion=completion.formats,
        ),
    ] = "html,md",
    as_json: Json = False,
) -> None:
    """Write a study's report again, from its stored results, in the formats that are named."""
    from tuneoff.api import load_results
    from tuneoff.report.formats import chosen_formats, write_formats
    from tuneoff.report.terminal import print_results
    from tuneoff.report.write import write_summary

    names = chosen_formats(formats)
    results = load_results(folder)
    write_summary(results)
    written = write_formats(results, names)
    if as_json:
        print(json.dumps(results.summary.model_dump(mode="json")))
        return
    print_results(results)
    for name in names:
        if name not in ("html", "md"):  # which are named above
            print(f"{name:9} {written[name]}")


@app.command(epilog="Example: tuneoff doctor")
def doctor(as_json: Json = False) -> None:
    """Say what this machine can do: device, precision, versions, disk, whether the Hub answers."""
    from tuneoff.cli.doctor import examine
    from tuneoff.report.terminal import print_doctor

    machine = examine()
    if as_json:
        print(json.dumps(machine.model_dump(mode="json")))
    else:
        print_doctor(machine)


app.command(epilog="Example: tuneoff plan imdb-roberta --gpu-memory 24GB")(plan)
app.command(epilog="Example: tuneoff recommend studies-out/quickstart --prefer time --max-memory 4GB")(recommend)
app.command(epilog="Example: tuneoff compare studies-out/imdb-bert studies-out/imdb-roberta")(compare)
app.command(epilog="Example: tuneoff export studies-out/quickstart --to reviews --format merged")(export)
app.command(epilog="Example: tuneoff methods lora")(methods)
app.command(epilog="Example: tuneoff serve topic=export/topic sentiment=export/sentiment --port 8000")(serve)
app.command(epilog=predict.EXAMPLE)(predict.predict)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    from tuneoff.core.hub.reach import check_environment

    check_environment()
    if version:
        from tuneoff import __version__

        print(f"tuneoff {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; exit codes: 0 done, 1 runs or trials failed, 2 cannot be carried out, 130 interrupted."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for number in SIGNALS:  # all mean the same as Ctrl-C, but for a hangup that `nohup` has ignored
        if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    silence_libraries()
    outlast_readers()
    try:
        code = exit_code(app)
    except KeyboardInterrupt:  # a second signal, while the first was being told of
        code = INTERRUPTED
    for number in SIGNALS:  # it ends already
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.flush()
    sys.exit(code or (2 if output_was_lost() else 0))
