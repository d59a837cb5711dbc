"""What a release holds, and that what is installed from it works; built offline by the build backend itself."""

from __future__ import annotations

import email.policy
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import tuneoff

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tuneoff"
BESIDE_SOURCE = {
    ".gitignore", "CHANGELOG.md", "CITATION.cff", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml",
}  # fmt: skip
SHIPPED = {
    "LICENSE", "analysis/wrong_choices.json", "data/reviews.jsonl", "data/reviews.md",
    "export/templates/card.md", "py.typed",
    "report/templates/page.css", "report/templates/page.html", "report/templates/page.js",
    "report/templates/report.md", "report/templates/report.typ", "studies/imdb-roberta.toml", "studies/quickstart.toml",
}  # fmt: skip
"""Files beside modules, by the end of their path; so that one that moves is missed here."""


def _source_files() -> set[str]:
    return {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _build(kind: str, project: Path, out: Path) -> Path:
    """Builds an "sdist" or a "wheel" of a project's folder."""
    code = f"import sys, hatchling.build as backend; print(backend.build_{kind}(sys.argv[1]))"
    built = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=project, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return out / built.stdout.split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy of the project in which other files lie about."""
    project = tmp_path_factory.mktemp("project") / "tuneoff"
    passing = shutil.ignore_patterns(".*_cache", ".git", ".venv*", "__pycache__", "studies-out", "dist", "images")
    shutil.copytree(ROOT, project, ignore=passing)
    for stray in (
        "notes.txt",
        "tickets.csv",
        "src/other/__init__.py",
        "studies-out/tickets/summary.json",
        "dist/a.whl",
    ):
        (project / stray).parent.mkdir(parents=True, exist_ok=True)
        (project / stray).write_text("private")
    return _build("sdist", project, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from what the sdist holds."""
    return zipfile.ZipFile(_build("wheel", unpacked, tmp_path_factory.mktemp("wheel")))


def _metadata(wheel: zipfile.ZipFile) -> EmailMessage:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    message = BytesParser(policy=email.policy.default).parsebytes(wheel.read(name))
    assert isinstance(message, EmailMessage)
    return message


def test_an_sdist_holds_the_source_and_nothing_else(unpacked: Path) -> None:
    held = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    assert held == BESIDE_SOURCE | {f"src/tuneoff/{name}" for name in _source_files()}


def test_a_wheel_holds_the_package_and_its_licence(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if not name.startswith("tuneoff/")}
    assert {name.removeprefix("tuneoff/") for name in set(wheel.namelist()) - held} == _source_files()
    info = f"tuneoff-{tuneoff.__version__}.dist-info"
    assert held == {
        f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert wheel.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert [name for name in SHIPPED if not any(held.endswith(f"/{name}") for held in wheel.namelist())] == []


def test_metadata_name_licence_authors_and_no_address(wheel: zipfile.ZipFile) -> None:
    metadata = _metadata(wheel)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Author"] == "Tuneoff contributors"
    assert metadata["Version"] == tuneoff.__version__
    assert not {"Author-email", "Home-page", "Project-URL", "Download-URL"} & set(metadata.keys())
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tuneoff.__version__
    assert citation["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "Tuneoff contributors"}]


@pytest.mark.parametrize(
    "arguments", [["--version"], ["methods"], pytest.param(["plan", "quickstart"], marks=pytest.mark.long)]
)
def test_what_a_wheel_installs_works_without_the_repository(
    wheel: zipfile.ZipFile, arguments: list[str], tmp_path: Path
) -> None:
    wheel.extractall(tmp_path / "installed")
    code = "import sys, tuneoff.cli; print(tuneoff.__file__, file=sys.stderr); tuneoff.cli.main()"
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert str(tmp_path / "installed") in answer.stderr
    assert {"--version": tuneoff.__version__, "methods": "lora", "plan": "head_only"}[arguments[0]] in answer.stdout


def _pinned(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(package): Version(version) for package, version in pins}


def test_lower_bounds_are_versions_that_tests_were_run_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"}
    requirements = [Requirement(line) for lines in (project["dependencies"], *extras.values()) for line in lines]
    lowest = _pinned("constraints-lowest.txt")
    for requirement in requirements:
        assert requirement.specifier.contains(lowest[canonicalize_name(requirement.name)])
        (bound,) = requirement.specifier
        if requirement.name != "torch":  # of which older builds are not at hand
            assert Version(bound.version) == lowest[canonicalize_name(requirement.name)], requirement


def test_hooks_format_as_make_does() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    (revision,) = (hook["rev"] for hook in hooks if hook["repo"].endswith("/ruff-pre-commit"))
    assert Version(revision) == _pinned("constraints.txt")["ruff"]
