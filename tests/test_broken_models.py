"""Models that are broken in their files: one line, exit code 2, no traceback, nothing written, no wait without end."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import Command, study_toml
from tuneoff.core.errors import UserError
from tuneoff.spec import load_study
from tuneoff.study.preview import outline_study

Break = Callable[[Path], object]
WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def holding(name: str, content: str | bytes) -> Break:
    """Puts other content in a file's place."""
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def edited(name: str, **values: Any) -> Break:
    """Sets keys of a JSON file."""
    return lambda folder: (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))


def config(**values: Any) -> Break:
    """Sets keys of config.json."""
    return edited("config.json", **values)


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Break:
    """Changes tokenizer.json."""

    def make(folder: Path) -> None:
        described = json.loads((folder / "tokenizer.json").read_text())
        change(described)
        (folder / "tokenizer.json").write_text(json.dumps(described))

    return make


def replaced(name: str, make: Break) -> Break:
    """Makes something else of a file's name."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def stored(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Break:
    """Changes the tensors."""
    return lambda folder: save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})


def as_type(kind: torch.dtype) -> Break:
    """Stores the tensors in another type."""
    return stored(lambda tensors: {name: tensor.to(kind) for name, tensor in tensors.items()})


def in_shards(shards: object) -> Break:
    """Leaves an index of shards alone."""

    def make(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"a": shards}}))

    return make


BROKEN: dict[str, tuple[Break, str]] = {
    "config is a list": (holding("config.json", "[1]"), "describes no model"),
    "config without end": (holding("config.json", "[" * 100_000), "not valid JSON"),
    "config is a pointer": (holding("config.json", POINTER), "git lfs pull"),
    "tokenizer is a pointer": (holding("tokenizer.json", POINTER), "git lfs pull"),
    "no text in a size": (config(hidden_size="abc"), "no usable config.json"),
    "endless layers": (config(num_hidden_layers=10**7), "num_hidden_layers = 10000000"),
    "fewer layers than none": (config(num_hidden_layers=-1), "num_hidden_layers = -1"),
    "negative heads": (config(num_attention_heads=-2), "num_attention_heads = -2"),
    "heads that do not divide": (config(num_attention_heads=3), "not a multiple"),
    "endless positions": (config(max_position_embeddings=10**12), "max_position_embeddings = 1000000000000"),
    "a layer too many": (config(num_hidden_layers=3), "layer.2.attention.output.LayerNorm.bias is missing"),
    "another activation": (config(hidden_act="nope"), "KeyError"),
    "text_config of nothing": (config(text_config="x"), "text_config describes no model"),
    "what transformers logs too": (config(use_return_dict=False), "no usable config.json"),
    "quantised by another": (config(quantization_config={"quant_method": "gptq", "bits": 4}), "quantised (gptq)"),
    "quantised by nothing": (config(quantization_config="x"), "no usable config.json"),
    "int8 that nobody tells of": (as_type(torch.int8), "as I8, and config.json does not say"),
    "fp8 that nobody tells of": (as_type(torch.float8_e4m3fn), "as F8_E4M3, and config.json does not say"),
    "absurd header": (holding(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"), "header too large"),
    "a token far off": (tokenizer(lambda found: found["model"]["vocab"].update(film=4 * 10**9)), "token 4000000"),
    "a tokenizer of another type": (holding("tokenizer.json", "3"), "is no tokenizer"),
    "length in words": (edited("tokenizer_config.json", model_max_length="x"), "model_max_length = 'x'"),
    "endless length": (edited("tokenizer_config.json", model_max_length=float("inf")), "model_max_length = inf"),
    "no pad token": (edited("tokenizer_config.json", pad_token=None, eos_token=None), "set pad_token"),
    "a shard that is not there": (in_shards("model-00001-of-00002.safetensors"), "which the index of its"),
    "a shard outside": (in_shards("/etc/passwd"), "which the index of its"),
    "a shard without a name": (in_shards(5), "names no files"),
    "a pipe for a configuration": (replaced("generation_config.json", os.mkfifo), "is no file"),
    "a pipe for weights": (replaced(WEIGHTS, os.mkfifo), "is no file"),
    "a link to itself": (replaced("tokenizer.json", lambda path: path.symlink_to(path)), "is no file"),
    "a device": (replaced(WEIGHTS, lambda path: path.symlink_to("/dev/zero")), "is no file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_gets_one_line(
    case: str, tiny_model: Path, data_files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make, expected = BROKEN[case]
    shutil.copytree(tiny_model, tmp_path / "model")
    make(tmp_path / "model")
    (tmp_path / "study.toml").write_text(study_toml(tmp_path / "model", data_files, ["head_only"]))
    capfd.readouterr()
    with pytest.raises(UserError, match=re.escape(expected)):
        outline_study(load_study(tmp_path / "study.toml"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("make", "command"),
    [
        (tokenizer(lambda found: found["model"].update(unk_token="zz")), "run"),
        (config(use_return_dict=False), "plan"),
        (replaced(WEIGHTS, os.mkfifo), "run"),
    ],
    ids=["no unknown token", "what transformers logs too", "a pipe for weights"],
)
def test_nothing_but_that_line_is_printed_or_written(
    make: Break, command: str, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    make(tmp_path / "model")
    (tmp_path / "study.toml").write_text(study_toml("./model", data_files, ["head_only"]))
    answer = tuneoff(command, "study.toml", timeout=60)
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("tuneoff: ")
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"model", "study.toml"}


def test_what_a_model_would_like_to_return_is_no_matter(
    tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    config(output_attentions=True, output_hidden_states=True, return_dict=False)(tmp_path / "model")
    (tmp_path / "study.toml").write_text(study_toml("./model", data_files, ["head_only"], seeds=1, epochs=1))
    answer = tuneoff("run", "--no-report", "study.toml")
    assert answer.returncode == 0, answer.stdout
