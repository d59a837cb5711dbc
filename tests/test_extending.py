"""What other packages add through entry points, installed for real: a module and its metadata on the path."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import Command, study_toml

GUIDE = Path(__file__).parents[1] / "docs" / "adding-a-method.md"
METHOD = GUIDE.read_text().partition("```python\n")[2].partition("```")[0]
"""The method of the guide, to the letter."""
Install = Callable[[str, str, str], dict[str, str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Installs a package of one module that offers something under a name; returns the environment that has it."""

    def installed(code: str, group: str, point: str) -> dict[str, str]:
        folder = tmp_path / "site"
        metadata = folder / "tuneoff_more-1.0.dist-info"
        metadata.mkdir(parents=True, exist_ok=True)
        (folder / "tuneoff_more.py").write_text(code)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tuneoff-more\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}

    return installed


def test_a_method_of_another_package_is_an_arm_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    path = install(METHOD, "tuneoff.methods", "biases = tuneoff_more:Biases")
    listed = json.loads(tuneoff("methods", "--json", **path).stdout)
    assert listed["biases"]["summary"] == "trains the biases, and the head"
    assert [option["name"] for option in listed["biases"]["options"]] == [
        "learning_rate",
        "learning_rate_range",
        "suffix",
    ]
    study = tmp_path / "study.toml"
    arms = ["full", 'method = "biases"\nlearning_rate = 1e-3']
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    summary = json.loads(tuneoff("run", study, "--out", tmp_path / "out", "--json", **path).stdout)["summary"]
    trained = {arm["arm"]: arm["trainable_parameters"] for arm in summary["arms"]}
    assert 0 < trained["biases"] < trained["full"] / 10
    answer = tuneoff("plan", study)
    assert answer.returncode == 2
    assert "unknown method 'biases'" in answer.stderr


@pytest.mark.parametrize(
    ("code", "point", "said"),
    [
        (
            "import nonsense_of_no_package",
            "biases = tuneoff_more:Biases",
            "of tuneoff-more cannot be loaded: ",
        ),
        ("Biases = print", "biases = tuneoff_more:Biases", "the method 'biases' of tuneoff-more is no ArmSpec"),
        (METHOD.replace('"biases"', '"lora"'), "other = tuneoff_more:Biases", "two methods are called 'lora': "),
    ],
    ids=["broken", "something-else", "name-taken"],
)
def test_what_cannot_be_used_is_said_in_one_line(
    code: str, point: str, said: str, install: Install, tuneoff: Command
) -> None:
    answer = tuneoff("methods", **install(code, "tuneoff.methods", point))
    assert answer.returncode == 2
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not answer.stdout


BESIDE = '''
from pathlib import Path

from tuneoff.study.executors.local import LocalExecutor
from tuneoff.tracking.base import Tracker


class Diary(Tracker):
    """Notes each run in a file of the study."""

    name = "diary"

    @classmethod
    def check(cls, spec):
        return True

    def _note(self, line):
        with (self._study.folder / "diary.txt").open("a") as file:
            file.write(line + "\\n")

    def track_run(self, result):
        self._note(result["run_id"])

    def track_study(self, results):
        self._note("end")

    def where(self):
        return "diary.txt"


class Here(LocalExecutor):
    """As the local one, and says so."""

    name = "here"

    def start(self, task):
        Path("started.txt").write_text(task.run.id)
        super().start(task)
'''


@pytest.mark.long
def test_a_tracker_and_an_executor_of_another_package(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    points = ("tuneoff.tracking", "diary = tuneoff_more:Diary\n[tuneoff.study.executors]\nhere = tuneoff_more:Here")
    path = install(BESIDE, *points)
    study = tmp_path / "study.toml"
    study.write_text(study_toml(tiny_model, data_files, ["head_only"], seeds=1))
    beside = ("--set", "tracking.diary=true", "--set", "execution.executor=here")
    answer = tuneoff("run", study, "--out", tmp_path / "out", *beside, **path)
    assert answer.returncode == 0, answer.stderr
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert (tmp_path / "started.txt").read_text() == run.name
    assert (tmp_path / "out" / "diary.txt").read_text().split() == [run.name, "end"]
    assert "diary: diary.txt" in answer.stdout
    for setting, said in (
        ("execution.executor=heer", "execution.executor: unknown executor 'heer'; did you mean 'here'?"),
        ("tracking.dairy=true", "unknown field 'tracking.dairy'; did you mean 'diary'?"),
    ):
        answer = tuneoff("plan", study, "--set", setting, **path)
        assert answer.returncode == 2
        assert said in answer.stderr
