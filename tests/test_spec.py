"""The study file."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tuneoff
from tuneoff.core.errors import UserError
from tuneoff.spec import load_study, shipped_studies


@pytest.mark.parametrize("name", shipped_studies())
def test_shipped_studies_are_valid_and_survive_being_written(name: str, tmp_path: Path) -> None:
    spec = load_study(name)
    assert spec.name == name
    (tmp_path / "study.toml").write_text(spec.to_toml())
    assert load_study(tmp_path / "study.toml") == spec


def test_overrides_reach_every_level() -> None:
    overrides = ["training.epochs=1", "arms.lora.r=4", "arms.0.learning_rate=1e-5", "seeds=[7, 8]", "model.id=./here"]
    spec = load_study("imdb-roberta", overrides)
    assert spec.training.epochs == 1
    assert spec.arms[1].model_dump()["r"] == 4
    assert spec.arms[0].learning_rate == 1e-5
    assert spec.seeds == (7, 8)
    assert spec.model.id == "./here"


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_study("quickstart").name = "other"  # type: ignore[misc]


def test_a_spec_can_be_sent_to_another_process() -> None:
    for name in shipped_studies():
        spec = load_study(name, ["tracking.tensorboard=true", "tracking.wandb_project=ours"])
        copy = pickle.loads(pickle.dumps(spec))
        assert copy == spec
        assert copy.to_toml() == spec.to_toml()


def test_errors_are_value_errors() -> None:
    with pytest.raises(UserError, match="did you mean 'epochs'"):
        load_study("quickstart", ["training.epoch=1"])
    assert issubclass(UserError, ValueError)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("arms.0.method=LoRA", "unknown method 'LoRA'; did you mean 'lora'?"),
        ("arms.0.method=Head_Only", "did you mean 'head_only'?"),
        ("Training.epochs=1", "unknown field 'Training'; did you mean 'training'?"),
        ("tuning.Seeds=1", "did you mean 'seeds'?"),
        ("name=my study", "name: a name is made of letters, digits, '.', '_' and '-', a letter or digit first"),
        ("arms.lora.name=r/8", "arms.1.name: a name is made of letters, digits, '.', '_', '+', '=' and '-'"),
        ("analysis.margin=3", "write 0.03 for 3%"),
        ("analysis.min_accuracy=92.5%", "write 0.925 for 92.5%"),
        ("training.warmup_ratio=6", "write 0.06 for 6%"),
        ("training.label_smoothing=10%", "write 0.1 for 10%"),
        ("training.class_weights=balance", "training.class_weights: write 'balanced', or a table with a weight"),
        ("training.class_weights.spam=heavy", "a number from 1e-09 to 1e+09 (that of 'spam' is 'heavy')"),
        ("training.class_weights.spam=1e300", "a number from 1e-09 to 1e+09 (that of 'spam' is 1e+300)"),
        ("execution.checkpoint_every=0s", "execution.checkpoint_every: write a duration"),
        ("training.patience=2", "training: patience needs select = 'best'"),
        ("tuning.trails=3", "unknown field 'tuning.trails'; did you mean 'trials'?"),
        ("tunning.trials=3", "unknown field 'tunning'; did you mean 'tuning'?"),
        ("arms.lora.dropuot=0", "unknown field 'arms.lora.dropuot'; did you mean 'lora_dropout'?"),
        ("arms.loar.r=4", "there is no arm 'loar'; did you mean 'lora'?"),
        ("arms.lora.r=four", "arms.lora.r: input should be a valid integer"),
        ("data.reviews.columns=1", "unknown field 'data.reviews'"),
        ("training.epochs.first=1", "'epochs' has no fields"),
        ("arms=[]", "arms: at least one is needed"),
        ("analysis.max_memory=4 gigabytes", "write a size such as 512MB, 4GB or 4GiB"),
    ],
)
def test_errors_say_in_words_what_to_write(override: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        load_study("imdb-roberta", [override])
    assert said in str(refused.value)
    assert "pattern" not in str(refused.value)


def test_a_shipped_study_is_found_by_a_name_that_is_nearly_right() -> None:
    with pytest.raises(UserError, match="did you mean 'imdb-roberta'"):
        load_study("IMDB-Roberta")


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GiB", 2**32), ("4 gib", 2**32), ("512MiB", 2**29), ("1.5 KiB", 1536), ("2TiB", 2**41), ("4GB", 4 * 10**9)],
)
def test_sizes_are_read_in_both_kinds_of_units(text: str, size: int) -> None:
    assert load_study("quickstart", [f"analysis.max_memory={text}"]).analysis.limits.max_memory == size


def test_the_public_names_are_listed_before_they_are_loaded() -> None:
    script = "import sys, tuneoff; names = dir(tuneoff); assert 'pandas' not in sys.modules; print(*names)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(tuneoff.__all__) <= set(answer.stdout.split())
    assert all(getattr(tuneoff, name) is not None for name in dir(tuneoff) if not name.startswith("_"))


@pytest.mark.parametrize(
    ("override", "message"),
    [("tuning=5", "tuning is a table, with fields of its own (it is 5)"), ("arms=3", "arms is a list (it is 3)")],
)
def test_what_is_no_table_or_list_is_said_in_plain_words(override: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_study("quickstart", [override])


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("[tuning]", "[tunnig]", "unknown field 'tunnig'; did you mean 'tuning'?"),
        ("[model]", "[modle]", "unknown field 'modle'; did you mean 'model'?"),
        ("seeds = 1", "sedes = 1", "unknown field 'sedes'; did you mean 'seeds'?"),
        ("source =", "sorce =", "data.source must be 'hub', 'files' or 'reviews' (is 'sorce' meant to be source?)"),
        ('method = "ia3"', 'metod = "ia3"', "arms.1: an arm needs a method (is 'metod' meant to be method?)"),
        ("r = 2", "rr = 2", "unknown field 'arms.small.rr'"),
        ('header = "no"', "haeder = false", "unknown field 'data.format.haeder'; did you mean 'header'?"),
    ],
)
def test_a_misspelt_name_in_a_study_file_is_named_with_one_that_is_near(
    right: str, wrong: str, said: str, tmp_path: Path
) -> None:
    toml = """name = "odd"
seeds = 1
[model]
id = "here"
[data]
source = "files"
train = "rows.csv"
[data.format]
header = "no"
[tuning]
trials = 2
[[arms]]
method = "lora"
name = "small"
r = 2
[[arms]]
method = "ia3"
"""
    assert right in toml
    (tmp_path / "study.toml").write_text(toml.replace(right, wrong))
    with pytest.raises(UserError) as refused:
        load_study(tmp_path / "study.toml")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
