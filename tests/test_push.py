"""Pushing to the Hub: to a stand-in on loopback, through the real client, each time from a fresh process."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import Answer
from hub_parts import Client, client, refused, standin
from hub_server import HubServer
from tuneoff.models.fingerprint import stamp_folder
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.save import kind_of, save_trained
from tuneoff.records.saved_model import BaseModel, SavedModel, TextRules

__all__ = ["client", "standin"]

TOKEN = "hf_mine"
MINE = "people/mine"
PUSH = """
import sys
from pathlib import Path
from tuneoff.cli.exits import exit_code
from tuneoff.export.push import push_to_hub

def command(standalone_mode):
    print(push_to_hub(Path(sys.argv[1]), sys.argv[2], print, public="public" in sys.argv))

sys.exit(exit_code(command))
"""
CARD = "---\npipeline_tag: text-classification\ntags:\n- tuneoff\n---\n\n# A model\n"


@pytest.fixture(scope="module")
def models(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of models as runs save them: `whole`, and an `adapter`."""
    import torch

    from tuneoff.spec.arms import METHODS

    folders: dict[str, Path] = {}
    for kind, method in (("whole", "full"), ("adapter", "lora")):
        folder = tmp_path_factory.mktemp("models") / kind
        loaded = load_classifier(tiny_model, load_config(tiny_model, 2, 0), 0, torch.device("cpu"), None)
        torch.manual_seed(1)
        model = METHODS.classes()[method].model_validate({"method": method}).adapt(loaded)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.2)
        saved = SavedModel(
            kind=kind_of(model),
            base=BaseModel(id=tiny_model.name, fingerprint=stamp_folder(tiny_model).fingerprint),
            texts=TextRules(label_names=("bad", "good"), max_length=32),
            study="tiny",
            run_id=f"{method}-seed0",
            arm=method,
            method=method,
            seed=0,
            learning_rate=1e-3,
            precision="fp32",
            sha256={},
        )
        save_trained(model, folder, tiny_model, saved)
        (folder / "README.md").write_text(CARD)
        assert saved.kind == kind
        folders[kind] = folder
    return folders


@pytest.fixture
def hub(standin: HubServer) -> HubServer:
    """A Hub on which one token may write."""
    standin.tokens |= {TOKEN, "hf_reader"}
    standin.writers[TOKEN] = {"people"}
    return standin


def _push(client: Client, folder: Path, *arguments: str, **environment: str) -> Answer:
    return client.python("-c", PUSH, folder, *(arguments or (MINE,)), **{"HF_TOKEN": TOKEN, **environment})


def _pushed(answer: Answer) -> list[str]:
    assert answer.returncode == 0, answer
    assert answer.stderr == ""
    return answer.stdout.splitlines()


def _files(hub: HubServer, repo_id: str = MINE) -> dict[str, bytes]:
    repository = hub.repositories["models", repo_id]
    return {name: path.read_bytes() for name, path in repository.files(repository.branches["main"]).items()}


def logits(place: str, base: str) -> Any:
    """What a model says, loaded with plain transformers and peft; `base` is empty of one that is whole."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    model: Any = AutoModelForSequenceClassification.from_pretrained(
        base or place, config=AutoConfig.from_pretrained(place)
    )
    if base:
        model = PeftModel.from_pretrained(model, place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    inputs = tokenizer(["the film was good", "a dull plot"], padding=True, return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**inputs).logits.numpy()


def _logits_from_hub(client: Client, base: str = "") -> Any:
    """The same of what was pushed, in a fresh process that has nothing else."""
    begin, end = (
        "from __future__ import annotations\n",
        "import json, sys\nprint(json.dumps(logits(*sys.argv[1:]).tolist()))",
    )
    answer = client.python("-c", f"{begin}{inspect.getsource(logits)}{end}", MINE, base, HF_TOKEN=TOKEN)
    assert answer.returncode == 0, answer
    return np.array(json.loads(answer.stdout), dtype=np.float32)


@pytest.mark.long
def test_what_was_pushed_is_loaded_back(
    hub: HubServer, client: Client, models: dict[str, Path], tiny_model: Path
) -> None:
    folder = models["whole"]
    said, address = _pushed(_push(client, folder))
    assert f"to {MINE} on the Hub (private" in said
    assert address == f"{hub.url}/{MINE}"
    repository = hub.repositories["models", MINE]
    assert repository.private
    assert len(repository.commits) == 2  # that of its making, and one of all files
    assert hub.asked("/commit/main") == 1
    local = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert _files(hub) == {**local, ".gitattributes": _files(hub)[".gitattributes"]}
    np.testing.assert_allclose(_logits_from_hub(client), logits(str(folder), ""), atol=1e-6)

    # Another model in its place: nothing of the first is left for a loader to find, what the user has added is.
    source = repository.folder / repository.branches["main"]
    (source / "notes.txt").write_text("mine")
    (source / "README.md").write_text(CARD.replace("---\n\n#", "license: mit\nlanguage: en\n---\n\n#"))
    _pushed(_push(client, models["adapter"]))
    files = _files(hub)
    expected = {path.name for path in models["adapter"].iterdir()} | {".gitattributes", "notes.txt"}
    assert set(files) == expected
    card = files["README.md"].decode()
    assert "license: mit" in card
    assert "language: en" in card
    assert "# A model" in card
    local_logits = logits(str(models["adapter"]), str(tiny_model))
    np.testing.assert_allclose(_logits_from_hub(client, str(tiny_model)), local_logits, atol=1e-6)


def test_a_name_alone_is_the_users_and_public_is_asked_for(
    hub: HubServer, client: Client, models: dict[str, Path]
) -> None:
    said, address = _pushed(_push(client, models["adapter"], "mine", "public"))
    assert "to people/mine on the Hub (public)" in said
    assert address == f"{hub.url}/{MINE}"
    assert not hub.repositories["models", MINE].private
    # What is there keeps who can see it, which is said.
    assert "(public)" in _pushed(_push(client, models["whole"]))[0]
    assert not hub.repositories["models", MINE].private


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ((MINE,), {"HF_TOKEN": ""}, "without a login to the Hugging Face Hub: log in with `hf auth login`"),
        ((MINE,), {"HF_TOKEN": "hf_old"}, "does not accept the access token; log in again"),
        ((MINE,), {"HF_TOKEN": "hf_reader"}, "its token needs the right to write, and 'people' must be you"),
        (("others/mine",), {}, "'others' must be you or an organisation of yours (it says: You don't have the rights"),
        (("a/b/c",), {}, "'a/b/c' is no name for a repository of the Hugging Face Hub, which is OWNER/NAME"),
        (("people/two words",), {}, "is no name for a repository"),
        ((MINE,), {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hugging Face Hub cannot be reached ([Errno 111]"),
        ((MINE,), {"HF_HUB_OFFLINE": "1"}, "cannot be reached (HF_HUB_OFFLINE is set)"),
    ],
)
def test_a_push_that_cannot_be_is_one_line(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    expected: str,
    hub: HubServer,
    client: Client,
    models: dict[str, Path],
) -> None:
    answer = _push(client, models["adapter"], *arguments, **environment)
    refused(answer, expected)
    assert answer.stdout == ""
    assert not hub.repositories


@pytest.mark.parametrize(
    ("path", "status", "expected"),
    [
        ("/commit/main", 409, "somebody else changed the repository at the same time; push again"),
        ("/commit/main", 412, "somebody else changed the repository at the same time; push again"),
        ("/objects/batch", 403, "this login may not write there; its token needs the right to write"),
        ("/api/repos/create", 402, "answers with error 402 (it says: because)"),
        ("/api/repos/create", 500, "answers with error 500; try again later"),
    ],
)
def test_what_the_hub_refuses_is_one_line_and_nothing_is_committed(
    path: str, status: int, expected: str, hub: HubServer, client: Client, models: dict[str, Path]
) -> None:
    hub.refusing[path] = (status, "because")
    refused(_push(client, models["adapter"]), f"'{MINE}' could not be pushed", expected, "(it says: because)")
    assert all(len(repository.commits) == 1 for repository in hub.repositories.values())
