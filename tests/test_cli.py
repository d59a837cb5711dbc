"""The command line answers quickly and explains itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from conftest import Command

COMMANDS = ("run", "plan", "retry", "status", "report", "methods", "doctor")


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
    answer = tuneoff(command, "--help")
    assert answer.returncode == 0
    assert f"Example: tuneoff {command}" in answer.stdout


def test_methods_are_listed_with_their_sources(tuneoff: Command) -> None:
    described = json.loads(tuneoff("methods", "--json").stdout)
    assert list(described) == ["frozen_features", "full", "head_only", "ia3", "lora", "qlora"]
    answer = tuneoff("methods").stdout
    for name, method in described.items():
        assert name in answer
        assert method["reference"] in answer


def test_doctor_reports_this_machine(tuneoff: Command) -> None:
    findings = json.loads(tuneoff("doctor", "--json").stdout)
    assert findings["cores"] >= 1
    assert findings["versions"]["torch"]
    assert findings["hub_reachable"] is False
    assert "processor" in tuneoff("doctor").stdout


def test_version(tuneoff: Command) -> None:
    from tuneoff import __version__

    assert tuneoff("--version").stdout.strip() == f"tuneoff {__version__}"
