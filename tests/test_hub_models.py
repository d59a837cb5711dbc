"""Models of the Hub, from a stand-in on loopback through the real clients: each command is a fresh process."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest

from hub_parts import Client, carried_out, client, copy_of, files_data, refused, standin
from hub_server import HubServer
from processes import small_disk

__all__ = ["client", "standin"]

MODEL = "people/tiny-bert"
PARAMETERS = 81_218
"""Of the tiny model with a head of two classes and a LoRA of rank 8."""


def _parameters(client: Client, **environment: str) -> int:
    """How many parameters the plan counts; the plan has to come out."""
    answer = client("plan", "study.toml", "--json", **environment)
    carried_out(answer)
    return json.loads(answer.stdout)["arms"][0]["parameters"]["total"]


def _study(client: Client, model: str = f'id = "{MODEL}"') -> None:
    client.write_study(model, files_data(client.folder / "data"))


def _fetch(client: Client, model: str = f'id = "{MODEL}"', **environment: str) -> str:
    """Has a model fetched, or found in the cache, by a plan that then stops for want of data; what it printed."""
    client.write_study(model, 'source = "files"\ntrain = "nowhere.csv"', "fetch.toml")
    answer = client("plan", "fetch.toml", **environment)
    refused(answer, "nowhere.csv")
    return answer.stdout


def _sharded(model: Path, folder: Path, suffix: str) -> Path:
    """The same model in several files of weights."""
    from transformers import BertModel

    copy_of(model, folder)
    (folder / "model.safetensors").unlink()
    if suffix == "safetensors":
        BertModel.from_pretrained(model).save_pretrained(folder, max_shard_size="100KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    else:
        import torch
        from safetensors.torch import load_file

        tensors = load_file(model / "model.safetensors")
        names = list(tensors)
        halves = {"a": names[::2], "b": names[1::2]}
        for half, some in halves.items():
            torch.save({name: tensors[name] for name in some}, folder / f"pytorch_model-{half}.bin")
        index = {name: f"pytorch_model-{half}.bin" for half, some in halves.items() for name in some}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    return folder


def _as_bin(model: Path, folder: Path) -> Path:
    """The same model with its weights as a pickle."""
    import torch
    from safetensors.torch import load_file

    copy_of(model, folder)
    torch.save(load_file(model / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_a_model_is_fetched_once_and_found_again_without_the_hub(
    standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path
) -> None:
    source = copy_of(tiny_model, tmp_path / "source")
    for further in ("tf_model.h5", "pytorch_model.bin", "onnx/model.onnx", "modeling_tiny.py", "old/model.safetensors"):
        (source / further).parent.mkdir(exist_ok=True)
        (source / further).write_bytes(b"not wanted")
    commit = standin.commit("models", MODEL, source)
    standin.renamed["tiny-bert"] = MODEL
    first = _fetch(client)
    assert f"The model {MODEL} is not pinned: main is commit {commit[:12]}" in first
    assert f"model.revision = '{commit}'" in first
    assert f"Fetching the model {MODEL} from the Hub: " in first
    fetched = {path.split("/resolve/")[1].split("/", 1)[1] for _, path, _ in standin.requests if "/resolve/" in path}
    assert fetched == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}

    before = standin.asked("/resolve/")
    assert "Fetching" not in _fetch(client)
    assert standin.asked("/resolve/") == before
    gone = _fetch(client, HF_ENDPOINT="http://127.0.0.1:9")
    assert f"commit {commit[:12]}" in gone
    _fetch(client, 'id = "tiny-bert"')  # its old name, which the Hub redirects


def test_a_model_whose_weights_alone_are_in_the_cache(standin: HubServer, client: Client, tiny_model: Path) -> None:
    commit = standin.commit("models", MODEL, tiny_model)
    _fetch(client)
    snapshot = client.cache / "hub" / "models--people--tiny-bert" / "snapshots" / commit
    for name in ("tokenizer.json", "tokenizer_config.json"):  # as after `AutoModel.from_pretrained` elsewhere
        (snapshot / name).unlink()
    _study(client, f'id = "{MODEL}"\nrevision = "{commit}"')
    assert _parameters(client) == PARAMETERS
    assert (snapshot / "tokenizer.json").is_file()


@pytest.mark.parametrize("form", ["safetensors in shards", "bin", "bin in shards"])
def test_weights_in_every_form_are_the_same_model(
    form: str, standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    if form == "bin":
        _as_bin(tiny_model, folder)
    else:
        _sharded(tiny_model, folder, form.split()[0])
    standin.commit("models", MODEL, folder)
    _study(client)
    assert _parameters(client) == PARAMETERS
    _fetch(client, HF_ENDPOINT="http://127.0.0.1:9")


@pytest.mark.long
def test_branches_tags_and_commits(standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path) -> None:
    first = standin.commit("models", MODEL, tiny_model)
    standin.repositories["models", MODEL].tags["v1"] = first
    wider = copy_of(tiny_model, tmp_path / "wider")
    config = json.loads((wider / "config.json").read_text())
    (wider / "config.json").write_text(json.dumps({**config, "id2label": {"0": "a", "1": "b"}}))
    second = standin.commit("models", MODEL, wider, branch="experiment")

    for revision, commit in (("v1", first), ("experiment", second), (first, first), (second, second)):
        printed = _fetch(client, f'id = "{MODEL}"\nrevision = "{revision}"')
        assert ("not pinned" in printed) == (revision != commit)
        assert (client.cache / "hub" / "models--people--tiny-bert" / "snapshots" / commit / "config.json").exists()

    before = len(standin.requests)
    _fetch(client, f'id = "{MODEL}"\nrevision = "{second}"')
    assert len(standin.requests) == before  # a commit that is there is not asked for

    _study(client, f'id = "{MODEL}"\nrevision = "experimnt"')
    refused(client("plan", "study.toml"), "no branch, tag or commit 'experimnt'", "did you mean 'experiment'?")
    _study(client, f'id = "{MODEL}"\nrevision = "zzz"')
    refused(client("plan", "study.toml"), "'zzz'", "it has main, experiment, v1")
    _study(client, f'id = "{MODEL}"\nrevision = "{"0" * 40}"')
    refused(client("plan", "study.toml"), "no branch, tag or commit '0000")


@pytest.mark.long
def test_gated_private_and_unknown(standin: HubServer, client: Client, tiny_model: Path) -> None:
    for name in ("people/gated-bert", "people/secret-bert", MODEL):
        standin.commit("models", name, tiny_model)
    gated = standin.repositories["models", "people/gated-bert"]
    gated.gated = True
    secret = standin.repositories["models", "people/secret-bert"]
    secret.private = True
    standin.tokens |= {"hf_owner", "hf_stranger"}
    gated.readers.add("hf_owner")
    secret.readers.add("hf_owner")
    page = f"{standin.url}/people/gated-bert"

    _study(client, 'id = "people/gated-bert"')
    refused(client("plan", "study.toml"), "gated", f"accept its terms at {page}", "`hf auth login`")
    refused(client("plan", "study.toml", HF_TOKEN="hf_stranger"), "gated", f"accept its terms at {page}", "this login")
    _fetch(client, 'id = "people/gated-bert"', HF_TOKEN="hf_owner")
    _study(client, 'id = "people/secret-bert"')
    refused(client("plan", "study.toml"), "knows no model 'people/secret-bert'", "private", "`hf auth login`")
    refused(client("plan", "study.toml", HF_TOKEN="hf_stranger"), "knows no model", "this login has no access")
    refused(client("plan", "study.toml", HF_TOKEN="hf_wrong"), "does not accept the access token", "`hf auth login`")
    _fetch(client, 'id = "people/secret-bert"', HF_TOKEN="hf_owner")
    for misspelt in ("people/tiny-bret", "peple/tiny-bert", "tiny-brt"):
        _study(client, f'id = "{misspelt}"')
        refused(client("plan", "study.toml"), f"knows no model '{misspelt}'", f"did you mean '{MODEL}'?")
    _study(client, 'id = "nobody/anything-else"')
    answer = client("plan", "study.toml")
    refused(answer, "knows no model 'nobody/anything-else'")
    assert "did you mean" not in answer.stderr
    _study(client, 'id = "no id at all"')
    refused(client("plan", "study.toml"), "'no id at all' is no id of the Hugging Face Hub")


def test_repositories_that_hold_no_model(standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path) -> None:
    only_tensorflow = copy_of(tiny_model, tmp_path / "tensorflow")
    (only_tensorflow / "model.safetensors").rename(only_tensorflow / "tf_model.h5")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("soon")
    half = _sharded(tiny_model, tmp_path / "half", "safetensors")
    lost = sorted(half.glob("model-*.safetensors"))[-1]
    lost.unlink()
    for folder, expected in (
        (only_tensorflow, ("no weights that PyTorch can load", "tf_model.h5")),
        (adapter, ("is an adapter",)),
        (empty, ("no config.json",)),
        (half, (f"lacks {lost.name}",)),
    ):
        standin.commit("models", f"people/{folder.name}", folder)
        _study(client, f'id = "people/{folder.name}"')
        refused(client("plan", "study.toml"), *expected)


def test_no_code_of_a_repository_is_fetched_or_run(
    standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\n"
    own = copy_of(tiny_model, tmp_path / "own-code")
    config = {
        "model_type": "never-heard-of",
        "auto_map": {
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModelForSequenceClassification": "modeling_own.Own",
        },
    }
    (own / "config.json").write_text(json.dumps(config))
    (own / "configuration_own.py").write_text(code)
    (own / "modeling_own.py").write_text(code)
    standin.commit("models", "people/own-code", own)

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(ran), "w")

    pickled = copy_of(tiny_model, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    standin.commit("models", "people/pickled", pickled)

    _study(client, 'id = "people/own-code"')
    refused(client("plan", "study.toml"), "people/own-code", "code of its own")
    assert not standin.asked(r"\.py$")
    _study(client, 'id = "people/pickled"')
    refused(client("plan", "study.toml"), "no weights could be loaded")
    assert not ran.exists()


@pytest.mark.long
def test_a_download_that_is_cut_off(standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    large = copy_of(tiny_model, tmp_path / "large")
    tensors = load_file(large / "model.safetensors")
    save_file({**tensors, "padding": torch.zeros(4_000_000)}, large / "model.safetensors", metadata={"format": "pt"})
    commit = standin.commit("models", MODEL, large)
    size = (large / "model.safetensors").stat().st_size
    standin.cuts["model.safetensors"] = [size - 1000]
    _fetch(client)
    statuses = [status for _, path, status in standin.requests if path.endswith("model.safetensors")]
    assert statuses[-2:] == [200, 206]  # the second download went on where the first one broke off
    snapshot = client.cache / "hub" / "models--people--tiny-bert" / "snapshots" / commit
    assert (snapshot / "model.safetensors").read_bytes() == (large / "model.safetensors").read_bytes()

    client.cache.rename(client.cache.with_name("earlier"))
    standin.cuts["model.safetensors"] = [0] * 7
    _study(client)
    refused(client("plan", "study.toml"), "was cut off", "nothing of it is used")
    assert (snapshot / "config.json").exists()
    assert not (snapshot / "model.safetensors").exists()
    refused(client("plan", "study.toml", HF_ENDPOINT="http://127.0.0.1:9"), "in part alone", "model.safetensors")
    standin.cuts.clear()
    _fetch(client)


def test_a_full_disk(standin: HubServer, client: Client, tiny_model: Path, tmp_path: Path) -> None:
    standin.commit("models", MODEL, tiny_model)
    _study(client)
    with small_disk(tmp_path / "small", "200k"):
        answer = client("plan", "study.toml", HF_HOME=str(tmp_path / "small"))
        refused(answer, "No space left on device", "HF_HOME")
        assert not list((tmp_path / "small").rglob("model.safetensors"))
    _fetch(client)


@pytest.mark.long
def test_a_hub_that_never_answers(standin: HubServer, client: Client, tiny_model: Path) -> None:
    standin.commit("models", MODEL, tiny_model)
    _study(client)
    patience = {"HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    for silent in ("^/$", "^/api/models", "/resolve/"):
        standin.silent = re.compile(silent)
        refused(client("plan", "study.toml", **patience), "there is no answer")
    standin.silent = None
    _fetch(client)
    standin.silent = re.compile("^/api/models")
    printed = _fetch(client, **patience)
    assert "there is no answer" in printed
    assert "read from the local cache" in printed
    standin.silent, standin.failing = None, re.compile("^/api/models")
    assert "error 503" in _fetch(client)
    client.cache.rename(client.cache.with_name("earlier"))
    refused(client("plan", "study.toml"), "error 503", "try again later")


@pytest.mark.parametrize("endpoint", ["mirror.example", "", "   ", "ftp://mirror.example", "https://", "http://[::1"])
def test_an_endpoint_that_is_no_address(endpoint: str, client: Client) -> None:
    _study(client)
    refused(client("plan", "study.toml", HF_ENDPOINT=endpoint), "HF_ENDPOINT")
    answer = client("doctor", HF_ENDPOINT=endpoint)
    if endpoint.startswith("http://["):  # at which huggingface_hub itself cannot be imported
        refused(answer, "HF_ENDPOINT")
    else:
        carried_out(answer)
        assert "not reachable (the environment variable HF_ENDPOINT" in answer.stdout


@pytest.mark.long
def test_odd_proxies_and_timeouts(standin: HubServer, client: Client, tiny_model: Path) -> None:
    standin.commit("models", MODEL, tiny_model)
    _study(client)
    odd = ("nonsense", "http://127.0.0.1:9", "socks9://127.0.0.1:1", "http://[::1", "http://127.0.0.1:99999999")
    for proxy in odd:
        answer = client("plan", "study.toml", http_proxy=proxy, no_proxy="")
        refused(answer, "cannot be reached", "proxy")
    refused(client("plan", "study.toml", HF_HUB_DOWNLOAD_TIMEOUT="10s"), "HF_HUB_DOWNLOAD_TIMEOUT", "whole number")
    _fetch(client)
    assert "local cache" in _fetch(client, http_proxy="nonsense", no_proxy="")
