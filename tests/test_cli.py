"""The command line answers quickly and explains itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Command
from tuneoff.analysis.costs import PREFERENCES
from tuneoff.cli import app, completion
from tuneoff.report.formats import FORMATS
from tuneoff.spec import load_study

COMMANDS = ("run", "plan", "retry", "status", "report", "methods", "doctor", "serve")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom tuneoff.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'pandas', 'numpy', 'sklearn', 'altair', 'pydantic'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip().endswith("HEAVY []")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, tuneoff: Command) -> None:
    answer = tuneoff(command, "--help", fresh=True)
    assert answer.returncode == 0
    assert f"Example: tuneoff {command}" in answer.stdout


def test_methods_are_listed_with_their_sources(tuneoff: Command) -> None:
    described = json.loads(tuneoff("methods", "--json").stdout)
    assert {"full", "lora", "qlora", "ia3", "head_only", "frozen_features"} < set(described)
    answer = tuneoff("methods").stdout
    for name, method in described.items():
        assert name in answer
        assert method["summary"] in answer
        assert method["reference"]


def test_doctor_reports_this_machine(tuneoff: Command) -> None:
    findings = json.loads(tuneoff("doctor", "--json").stdout)
    assert findings["cores"] >= 1
    assert findings["versions"]["torch"]
    assert findings["hub_reachable"] is False
    assert "processor" in tuneoff("doctor").stdout


def test_version(tuneoff: Command) -> None:
    from tuneoff import __version__

    assert tuneoff("--version", fresh=True).stdout.strip() == f"tuneoff {__version__}"


def completed(folder: Path, *words: str) -> list[str]:
    """What a shell offers in a folder for the last of the words after `tuneoff`."""
    asked = {"_TUNEOFF_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["tuneoff", *words])}
    answer = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['tuneoff']; from tuneoff.cli import main; main()"],
        env={**os.environ, **asked, "COMP_CWORD": str(len(words))},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stderr == ""
    return answer.stdout.split()


def test_tab_completes_studies_folders_and_names(tmp_path: Path) -> None:
    for name in ("quick.toml", "notes.txt", "outs/first/study.toml", "outs/second/study.toml", "data/rows.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert completed(tmp_path, "run", "qui") == ["quickstart", "quick.toml"]
    assert completed(tmp_path, "plan", "n") == []
    assert completed(tmp_path, "report", "o") == ["outs/"]
    assert completed(tmp_path, "status", "outs/") == ["outs/first", "outs/second"]
    assert completed(tmp_path, "compare", "outs/first", "outs/s") == ["outs/second"]
    assert completed(tmp_path, "report", "outs/first", "--format", "html,l") == ["html,latex"]
    assert completed(tmp_path, "recommend", "outs/first", "--prefer", "m") == ["memory"]
    assert completed(tmp_path, "run", "--executor", "r") == ["ray"]
    assert completed(tmp_path, "rec") == ["recommend"]


def test_tab_completes_every_setting_and_name_that_there_is() -> None:
    offered = completion.settings("")
    load_study("quickstart", [f"{name}1" for name in offered if name in ("training.epochs=", "arms.lora.r=", "seeds=")])
    assert {"training.epochs=", "data.max_length=", "analysis.margin=", "arms.ia3.target_modules=", "seeds="} <= set(
        offered
    )
    assert len(offered) == len(set(offered))
    assert completion.settings("arms.qlora.r") == ["arms.qlora.r="]
    assert completion.formats("") == list(FORMATS)
    assert completion.costs("") == list(PREFERENCES)
    for name in completion.executors(""):
        assert load_study("quickstart", [f"execution.executor={name}"]).execution.executor == name


def test_completion_is_set_up_by_the_command_itself() -> None:
    script = "import sys; sys.argv[0] = 'tuneoff'; from tuneoff.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", script, "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_tuneoff_completion tuneoff" in answer.stdout


def test_what_libraries_warn_of_does_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(
        "import logging, warnings\nlogging.getLogger(__name__).warning('a kernel is missing')\n"
        "warnings.warn('it will change')\n"
    )
    script = (
        "import sys\nfrom tuneoff.cli import main\nsys.argv = ['tuneoff', '--version']\n"
        "try: main()\nexcept SystemExit: import chatty"
    )
    for options, said in (([], False), (["-W", "default"], True)):
        answer = subprocess.run(
            [sys.executable, *options, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert "kernel" not in answer.stderr
        assert ("it will change" in answer.stderr) == said


def test_help_is_shown_as_it_is_written() -> None:
    """No word in brackets is taken for a style."""
    from rich.markup import render
    from typer.main import get_command

    commands = get_command(app).commands.values()  # type: ignore[attr-defined]
    helps = [command.help for command in commands] + [one.help for command in commands for one in command.params]
    assert len(helps) > 50
    for text in filter(None, helps):
        assert render(text).plain == text
