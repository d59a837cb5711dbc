"""Datasets of the Hub, and the shipped study from there, from a stand-in on loopback through the real clients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from hub_parts import Client, carried_out, client, copy_of, imdb_like, refused, standin, with_configurations
from hub_server import HubServer
from processes import small_disk

__all__ = ["client", "standin"]

DATA = "people/Film-Reviews"
REAL_ROBERTA = Path(__file__).parents[2] / "shared" / "models" / "roberta-base"


def _study(client: Client, model: Path, data: str = f'id = "{DATA}"') -> None:
    client.write_study(f'id = "{model}"', f'source = "hub"\n{data}')


def _fetch(client: Client, model: Path, data: str = f'id = "{DATA}"', **environment: str) -> None:
    """Has a dataset fetched, or found in the cache, by a plan that then stops for want of a column."""
    _study(client, model, f'{data}\ntext = "nowhere"')
    refused(client("plan", "study.toml", **environment), "'nowhere'")


@pytest.mark.long
def test_configurations(standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path) -> None:
    names = ["english", "french", "german"]
    standin.commit("datasets", DATA, with_configurations(tmp_path / "several", names))
    standin.commit(
        "datasets", "people/one-default", with_configurations(tmp_path / "default", names, default="english")
    )

    _study(client, tiny_model)
    refused(client("plan", "study.toml"), "several configurations", "data.config", "english, french, german")
    _study(client, tiny_model, f'id = "{DATA}"\nconfig = "frnch"')
    refused(client("plan", "study.toml"), "no configuration 'frnch'", "did you mean 'french'?")
    _fetch(client, tiny_model, f'id = "{DATA}"\nconfig = "french"')
    assert not standin.asked(r"/resolve/.*/(german|english)/")
    _study(client, tiny_model, f'id = "{DATA}"\nconfig = "french"\ntest = "tset"')
    refused(client("plan", "study.toml"), "no split 'tset'", "train, test")

    # What another configuration was fetched for is not taken for the default one, with the Hub or without it.
    _fetch(client, tiny_model, 'id = "people/one-default"\nconfig = "german"')
    _study(client, tiny_model, 'id = "people/one-default"')
    refused(client("plan", "study.toml", HF_ENDPOINT="http://127.0.0.1:9"), "in the local cache in part alone")
    _fetch(client, tiny_model, 'id = "people/one-default"')
    assert standin.asked(r"/one-default/resolve/.*/english/train")
    _fetch(client, tiny_model, 'id = "people/one-default"', HF_ENDPOINT="http://127.0.0.1:9")


@pytest.mark.long
def test_what_the_hub_refuses(standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path) -> None:
    source = imdb_like(tmp_path / "source")
    for name in ("people/gated-reviews", "people/secret-reviews", DATA):
        standin.commit("datasets", name, source)
    standin.repositories["datasets", "people/gated-reviews"].gated = True
    standin.repositories["datasets", "people/secret-reviews"].private = True
    script = tmp_path / "script"
    script.mkdir()
    ran = tmp_path / "ran"
    (script / "by-script.py").write_text(f"open({str(ran)!r}, 'w')\n")
    standin.commit("datasets", "people/by-script", script)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("soon")
    standin.commit("datasets", "people/empty", empty)
    page = f"{standin.url}/datasets/people/gated-reviews"

    for data, *expected in (
        ("people/gated-reviews", "gated", f"accept its terms at {page}", "`hf auth login`"),
        ("people/secret-reviews", "knows no dataset", "`hf auth login`"),
        ("people/Film-Reveiws", "knows no dataset", f"did you mean '{DATA}'?"),
        ("people/by-script", "script of its own", "by-script.py"),
        ("people/empty", "the dataset 'people/empty'"),
        ("no id at all", "is no id of the Hugging Face Hub"),
        ("parquet", "knows no dataset 'parquet'"),
        (f'{DATA}"\nrevision = "v7', "no branch, tag or commit 'v7'", "it has main"),
    ):
        _study(client, tiny_model, f'id = "{data}"')
        refused(client("plan", "study.toml"), *expected)
    assert not ran.exists()
    assert not standin.asked("by-script.py")

    (client.folder / DATA).mkdir(parents=True)
    _study(client, tiny_model)
    refused(client("plan", "study.toml"), f"folder '{DATA}' here")


@pytest.mark.long
def test_a_dataset_that_does_not_come_whole(
    standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path
) -> None:
    source = imdb_like(tmp_path / "source", train=4000)
    standin.commit("datasets", DATA, source)
    file = "plain_text/train-00000-of-00001.parquet"
    _study(client, tiny_model)
    standin.cuts[file] = [100] * 7
    refused(client("plan", "study.toml"), "was cut off")
    refused(client("plan", "study.toml", HF_ENDPOINT="http://127.0.0.1:9"), "in part alone")
    standin.cuts[file] = [100]
    _fetch(client, tiny_model)
    with small_disk(tmp_path / "small", "400k"):
        refused(client("plan", "study.toml", HF_HOME=str(tmp_path / "small")), "HF_HOME")


@pytest.mark.long
def test_commits_that_move(standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path) -> None:
    old = standin.commit("datasets", DATA, imdb_like(tmp_path / "old", seed=1))
    model_commit = standin.commit("models", "people/tiny-bert", tiny_model)
    client.write_study('id = "people/tiny-bert"', f'source = "hub"\nid = "{DATA}"')
    first = client("run", "study.toml")
    carried_out(first)
    assert f"The dataset {DATA} is not pinned: main is commit {old[:12]}" in first.stdout
    folder = client.folder / "studies-out" / "small"
    expected = {
        "model": {"id": "people/tiny-bert", "revision": None, "commit": model_commit},
        "data": {"id": DATA, "revision": None, "commit": old},
    }
    assert json.loads((folder / "hub.json").read_text()) == expected
    (adapter,) = (folder / "runs").glob("*/model/adapter_config.json")
    written = json.loads(adapter.read_text())
    assert (written["base_model_name_or_path"], written["revision"]) == ("people/tiny-bert", model_commit)
    fingerprint = json.loads((folder / "data" / "prepared.json").read_text())["fingerprint"]

    one_class = imdb_like(tmp_path / "new")
    for split in ("train", "test"):
        path = one_class / "plain_text" / f"{split}-00000-of-00001.parquet"
        pd.read_parquet(path).assign(label=1).to_parquet(path, index=False)
    new = standin.commit("datasets", DATA, one_class)
    again = client("run", "study.toml")
    carried_out(again)
    assert f"has changed since this study began: main is now commit {new[:12]}" in again.stdout
    assert f"goes on with {old[:12]}" in again.stdout
    assert "nothing to train" in again.stdout
    assert json.loads((folder / "hub.json").read_text()) == expected

    # Another study uses the new commit, for which nothing that was prepared of the old one must be taken.
    audit = client("audit", "study.toml")
    assert f"not pinned: main is commit {new[:12]}" in audit.stdout
    refused(audit, "every label is '1'")

    stored = (folder / "hub.json").read_text()
    (folder / "hub.json").write_text('{"data": 7}')
    refused(client("run", "study.toml"), "hub.json is damaged")
    (folder / "hub.json").write_text(stored)

    # And without the Hub the old commit is found as well, though a newer one is in the cache.
    shutil.rmtree(folder / "data")
    gone = client("run", "study.toml", HF_ENDPOINT="http://127.0.0.1:9")
    carried_out(gone)
    assert "nothing to train" in gone.stdout
    assert json.loads((folder / "data" / "prepared.json").read_text())["fingerprint"] == fingerprint


@pytest.mark.long
@pytest.mark.skipif(not REAL_ROBERTA.exists(), reason="the tokenizer of RoBERTa-base is not here")
def test_the_shipped_study_of_the_original(standin: HubServer, client: Client, tmp_path: Path) -> None:
    standin.commit("models", "FacebookAI/roberta-base", _small_roberta(copy_of(REAL_ROBERTA, tmp_path / "roberta")))
    standin.commit("datasets", "stanfordnlp/imdb", imdb_like(tmp_path / "imdb", train=240, test=80))
    smaller = [
        *("seeds=1", "data.train_size=64", "data.validation_size=16", "data.test_size=40", "data.max_length=48"),
        *("training.epochs=1", "training.batch_size=16"),
    ]
    options = [word for setting in smaller for word in ("--set", setting)]
    first = client("run", "imdb-roberta", *options)
    carried_out(first)
    assert "Fetching the model FacebookAI/roberta-base from the Hub: " in first.stdout
    assert "Fetching the dataset stanfordnlp/imdb from the Hub: " in first.stdout
    summary = json.loads((client.folder / "studies-out" / "imdb-roberta" / "summary.json").read_text())
    assert [arm["arm"] for arm in summary["arms"]] == ["full", "lora", "qlora", "ia3"]
    assert summary["runs"] == {"planned": 4, "done": 4, "failed": 0}

    gone = {"HF_ENDPOINT": "http://127.0.0.1:9", "TUNEOFF_CACHE": str(tmp_path / "another-cache")}
    again = client("run", "imdb-roberta", *options, "--out", "again", **gone)
    carried_out(again)
    assert "the dataset stanfordnlp/imdb is read from the local cache" in again.stdout
    anew = json.loads((client.folder / "again" / "summary.json").read_text())
    for arm, other in zip(summary["arms"], anew["arms"], strict=True):
        assert arm["test_accuracies"] == other["test_accuracies"]


def _small_roberta(folder: Path) -> Path:
    """Gives RoBERTa-base's own folder a network of its kind that trains in seconds."""
    import torch
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig.from_pretrained(folder)
    config.update({"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64})
    torch.manual_seed(0)
    RobertaModel(config).save_pretrained(folder)
    return folder
