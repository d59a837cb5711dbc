"""A study for the tests of the page: long names, and HTML in texts and names of classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

import tuneoff as api
from conftest import reviews, study_toml
from tuneoff.report.page import write_page

SCRIPT = "<script>alert(1)</script>"
CLASSES = {0: 'bad "quoted" & <b>', 1: "good & fine"}
LONG_NAME = "full-r8_on-query+value-with.a-name=of-60-letters_as-is-allowed"[:60]
ARMS = [
    'method = "full"\nlearning_rate = 2e-3',
    f'method = "full"\nname = "{LONG_NAME}"\nlearning_rate = 7e-4',
    'method = "head_only"\nlearning_rate = 1e-3',
]


@pytest.fixture(scope="session")
def study_folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A finished study of three arms, two seeds and two training sizes; workers of pytest-xdist share it."""
    own = tmp_path_factory.getbasetemp()
    told = (own if worker_id == "master" else own.parent) / "study-of-the-page"
    with FileLock(told.with_suffix(".lock")):
        if not told.exists():
            told.write_text(str(_carried_out(tiny_model, tmp_path_factory.mktemp("page"))))
    return Path(told.read_text())


def _carried_out(model: Path, folder: Path) -> Path:
    for name, rows in (("train", reviews(280, seed=1)), ("test", reviews(60, seed=2, first_row=1000))):
        rows["label"] = rows["label"].map(CLASSES)
        rows.loc[:1, "text"] = [f"{SCRIPT} the {name} film was bad", f'a "good" {name} film & {SCRIPT}']
        rows.to_csv(folder / f"{name}.csv", index=False)
    text = study_toml(model, folder, ARMS, epochs=3).replace("[training]", "train_sizes = [60, 240]\n[training]")
    (folder / "study.toml").write_text(text)
    results = api.run_study(api.load_study(folder / "study.toml"), folder / "out")
    assert results.failed == []
    write_page(api.load_results(folder / "out"))
    return folder / "out"


@pytest.fixture(scope="session")
def page_file(study_folder: Path) -> Path:
    return study_folder / "report.html"
