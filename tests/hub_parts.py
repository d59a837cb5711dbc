"""What the tests of the Hub share: a server with repositories, and Tuneoff's command line that is pointed at it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from commands import Answer, run_command, server_for
from conftest import reviews
from hub_server import HubServer, hub_server

pytest.importorskip("datasets", reason="datasets is not installed (the extra 'hub')")

OF_THE_HUB = ("HF_", "HUGGING_FACE_", "HUGGINGFACE_", "TRANSFORMERS_OFFLINE")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass
class Client:
    """A user with a home of their own, who has nothing from the Hub yet."""

    folder: Path
    endpoint: str

    @property
    def cache(self) -> Path:
        """Where huggingface_hub and datasets keep what they fetched."""
        return self.folder / "hf-home"

    def __call__(self, *arguments: str | Path, **environment: str) -> Answer:
        """Runs the command line in a process that has nothing of the Hub; it may speak to the stand-in."""
        server = server_for(str(arguments[0]), hub=False)
        return run_command([*map(str, arguments)], self.folder, self._environment(environment), 400, server)

    def python(self, *arguments: str | Path, **environment: str) -> Answer:
        """Runs Python in a fresh process; likewise."""
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.folder,
            env=self._environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def _environment(self, own: dict[str, str]) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(OF_THE_HUB) and name.lower() not in PROXIES
        }
        return {
            **kept,
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.cache),
            "HF_HUB_DISABLE_XET": "1",
            "no_proxy": "127.0.0.1",
            **own,
        }

    def write_study(self, model: str, data: str, name: str = "study.toml") -> None:
        """Writes a study of one arm; `model` and `data` are lines of their tables."""
        (self.folder / name).write_text(
            f'name = "small"\nseeds = 1\n[model]\n{model}\n[data]\n{data}\nmax_length = 32\n'
            '[training]\nepochs = 1\nbatch_size = 16\ndevice = "cpu"\n[[arms]]\nmethod = "lora"\nlearning_rate = 1e-3\n'
        )


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[HubServer]:
    """A Hub without repositories."""
    with hub_server(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def client(standin: HubServer, tmp_path: Path) -> Client:
    """A new user of that Hub."""
    folder = tmp_path / "user"
    folder.mkdir()
    return Client(folder, standin.url)


def copy_of(source: Path, target: Path) -> Path:
    """A copy of a folder that a test may change."""
    shutil.copytree(source, target)
    return target


def files_data(folder: Path) -> str:
    """Lines for `[data]` of local files, which are written into `folder`."""
    folder.mkdir(exist_ok=True)
    reviews(120, seed=1).to_csv(folder / "train.csv", index=False)
    reviews(40, seed=2, first_row=1000).to_csv(folder / "test.csv", index=False)
    return f'source = "files"\ntrain = "{folder / "train.csv"}"\ntest = "{folder / "test.csv"}"'


def imdb_like(folder: Path, train: int = 120, test: int = 40, seed: int = 1) -> Path:
    """The files of a dataset repository as IMDb's are: Parquet, sorted by label, a third split that is labelled -1."""
    (folder / "plain_text").mkdir(parents=True)
    splits = {
        "train": reviews(train, seed=seed).sort_values("label"),
        "test": reviews(test, seed=seed + 1, first_row=1000).sort_values("label"),
        "unsupervised": reviews(30, seed=seed + 2, first_row=2000).assign(label=-1),
    }
    for name, frame in splits.items():
        frame.to_parquet(folder / "plain_text" / f"{name}-00000-of-00001.parquet", index=False)
    write_card(folder, {"plain_text": list(splits)}, default="plain_text")
    (folder / ".gitattributes").write_text("*.parquet filter=lfs\n")
    return folder


def with_configurations(folder: Path, names: list[str], default: str | None = None) -> Path:
    """The files of a dataset repository with several configurations."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for split, rows, first in (("train", 80, 0), ("test", 30, 1000)):
            frame: pd.DataFrame = reviews(rows, seed=10 * number + rows, first_row=first)
            frame.to_parquet(folder / name / f"{split}-0.parquet", index=False)
    write_card(folder, {name: ["train", "test"] for name in names}, default)
    return folder


def write_card(folder: Path, configurations: dict[str, list[str]], default: str | None) -> None:
    """Writes a dataset's README.md with the block by which the Hub knows its configurations."""
    lines = ["---", "configs:"]
    for name, splits in configurations.items():
        lines += [f"- config_name: {name}", *(["  default: true"] if name == default else []), "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# A dataset", ""]))


def refused(answer: Answer, *expected: str) -> None:
    """Asserts that a command ended in one plain line, which says what is expected."""
    assert answer.returncode == 2, answer
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert answer.stderr.startswith("tuneoff: ")
    for text in expected:
        assert text in answer.stderr, answer.stderr


def carried_out(answer: Answer) -> None:
    """Asserts that a command ended well, and that no library has said anything."""
    assert answer.returncode == 0, answer
    assert answer.stderr == ""
    for theirs in ("Fetching 1", "it/s]", "Generating", "unauthenticated", "Warning"):
        assert theirs not in answer.stdout, answer.stdout
