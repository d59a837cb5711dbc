"""Real parts for the tests: a tiny BERT with random weights, data files, the command line."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from another_package import install_package
from commands import Answer, can_fork, run_command, server_for, start_server, use_server

POSITIVE = ("good", "great", "lovely", "superb")
NEGATIVE = ("bad", "awful", "dull", "poor")
NEUTRAL = ("the", "film", "plot", "was", "a", "very", "scene", "and", "actor", "music", "long", "short")
REAL_DATA = Path(os.environ.get("TUNEOFF_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))

os.environ["TUNEOFF_CACHE"] = tempfile.mkdtemp(prefix="tuneoff-cache-")

Command = Callable[..., Answer]
Interpreted = Callable[..., Any]
Install = Callable[[str, str, str], dict[str, str]]


LONGEST = """
notebook extending_methods ray learning tuning hub_data faults interruptions soak hub_models train_sizes terminal study
extending parallel parallel_studies tracking damage slow_trackers formats page page_contents files architectures kernels
attention extending_sources
"""
"""Files of tests that take long, which start first, so that at the end no worker waits long for another."""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Gives pytest-xdist's workers servers of commands that they share, so that not each of them imports."""
    if can_fork():
        if not _shared:
            _shared.extend((hub, start_server(hub)) for hub in (True, False))
        node.workerinput["command_servers"] = _shared


_shared: list[tuple[bool, str]] = []


def pytest_configure(config: pytest.Config) -> None:
    """Has a worker of pytest-xdist use them."""
    for hub, address in getattr(config, "workerinput", {}).get("command_servers", []):
        use_server(hub, address)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts files; `make` has pytest-xdist keep the order."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST.split())}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_runtest_setup() -> None:
    """Has tests compute with one thread in their own process, where models are so small that more only wait."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def pytest_unconfigure() -> None:
    """Removes what tests have left in the cache."""
    shutil.rmtree(os.environ["TUNEOFF_CACHE"], ignore_errors=True)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer BERT without a classifier, and a word-level tokenizer."""
    import torch
    from transformers import BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    vocabulary = save_tokenizer(folder)
    torch.manual_seed(0)
    BertModel(bert_config(vocabulary)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def steady_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model without dropout."""
    folder = tmp_path_factory.mktemp("steady")
    for path in tiny_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        config[name] = 0.0
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def bert_config(vocabulary: int) -> Any:
    """A BERT small enough to train in seconds."""
    from transformers import BertConfig

    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
    )


def save_tokenizer(folder: Path) -> int:
    """Saves a tokenizer of whole words; returns the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *POSITIVE, *NEGATIVE, *NEUTRAL]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )
    wrapped.save_pretrained(folder)
    return len(words)


def reviews(count: int, seed: int, first_row: int = 0) -> pd.DataFrame:
    """Distinct made-up sentences whose label (0 or 1) one word decides."""
    draw = random.Random(seed)
    rows = []
    for row in range(first_row, first_row + count):
        label = row % 2
        words = [*draw.choices(NEUTRAL, k=draw.randint(3, 20)), draw.choice(POSITIVE if label else NEGATIVE), str(row)]
        draw.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def data_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.csv (160 rows) and test.csv (60 rows)."""
    folder = tmp_path_factory.mktemp("data")
    reviews(160, seed=1).to_csv(folder / "train.csv", index=False)
    reviews(60, seed=2, first_row=1000).to_csv(folder / "test.csv", index=False)
    return folder


UNTUNED = "trials = 1"
ONE_CORE = "cores = 1"
"""Of runs whose tensors are so small that a second thread is mostly waited for."""
RATES = {"full": 3e-5, "lora": 5e-4, "qlora": 5e-4, "ia3": 3e-3, "head_only": 3e-3}
"""Of arms that a test names by their method alone and does not tune; low, since the tiny model is no matter here."""


def _arm(method: str, untuned: bool) -> str:
    rate = f"\nlearning_rate = {RATES[method]}" if untuned and method in RATES else ""
    return f'[[arms]]\nmethod = "{method}"{rate}'


def study_toml(
    model: Path | str, data: Path, arms: Sequence[str], seeds: int = 2, tuning: str = UNTUNED, **training: Any
) -> str:
    """A study file over the made-up reviews, untuned, on one core; an arm is a method, or TOML lines with one first."""
    settings = {"epochs": 2, "batch_size": 8, "device": '"cpu"', **training}
    return "\n".join(
        [
            'name = "tiny"',
            f"seeds = {seeds}",
            f'[model]\nid = "{model}"',
            f'[data]\nsource = "files"\ntrain = "{data / "train.csv"}"\ntest = "{data / "test.csv"}"\nmax_length = 32',
            "[training]",
            *(f"{key} = {value}" for key, value in settings.items()),
            "[execution]",
            ONE_CORE,
            f"[tuning]\n{tuning}",
            *(f"[[arms]]\n{arm}" if "=" in arm else _arm(arm, tuning == UNTUNED) for arm in arms),
        ]
    )


@pytest.fixture
def tuneoff(tmp_path: Path) -> Command:
    """Runs the command line in an empty folder, without a network, and returns what it printed."""

    def call(*arguments: str | Path, timeout: float = 300, fresh: bool = False, **environment: str) -> Answer:
        of_the_hub = any(name.startswith("HF_") for name in environment)
        server = None if fresh else server_for(str(arguments[0]), hub=not of_the_hub)
        whole = {**os.environ, "HF_HUB_OFFLINE": "1", **environment}
        return run_command([*map(str, arguments)], tmp_path, whole, timeout, server)

    return call


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Installs a package of one module that offers something under a name; returns the environment that has it."""
    return partial(install_package, tmp_path / "site")


def _interpret() -> None:
    import torch

    os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Interpreted]:
    """Calls a function in a process whose Triton interprets on the CPU, which is decided when Triton is imported."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_interpret) as pool:
        yield lambda *call: pool.submit(*call).result()
