"""What other packages add through entry points, installed for real: a module and its metadata on the path."""

from __future__ import annotations

import importlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import Command, save_tokenizer, study_toml
from tuneoff.data.tokens import Tokens
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.virtual_tokens import VirtualTokens, ids_behind
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine

DOCS = Path(__file__).parents[1] / "docs"


def guide(kind: str, language: str = "python", number: int = 0) -> str:
    """A piece of a guide's code, to the letter."""
    blocks: list[str] = re.findall(
        rf"```{language}\n(.*?)```", (DOCS / f"adding-{kind}.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return blocks[number]


def point_of(kind: str) -> tuple[str, str]:
    """The group and the entry point that a guide writes into a package's `pyproject.toml`, of the package made here."""
    ((group, points),) = tomllib.loads(guide(kind, "toml"))["project"]["entry-points"].items()
    ((name, target),) = points.items()
    return group, f"{name} = {target.replace('your_package', 'tuneoff_more')}"


METHOD, HOOKED = guide("a-method"), guide("a-method", number=1)
SOURCE, ARCHITECTURE = guide("a-data-source"), guide("an-architecture")
Install = Callable[[str, str, str], dict[str, str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Installs a package of one module that offers something under a name; returns the environment that has it."""

    def installed(code: str, group: str, point: str) -> dict[str, str]:
        folder = tmp_path / "site"
        metadata = folder / "tuneoff_more-1.0.dist-info"
        metadata.mkdir(parents=True, exist_ok=True)
        (folder / "tuneoff_more.py").write_text(code)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tuneoff-more\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}

    return installed


def test_a_method_of_another_package_is_an_arm_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    path = install(METHOD, *point_of("a-method"))
    listed = json.loads(tuneoff("methods", "--json", **path).stdout)
    assert listed["biases"]["summary"] == "trains the biases, and the head"
    assert [option["name"] for option in listed["biases"]["options"]] == [
        "learning_rate",
        "learning_rate_range",
        "suffix",
    ]
    study = tmp_path / "study.toml"
    arms = ["full", 'method = "biases"\nlearning_rate = 1e-3']
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    summary = json.loads(tuneoff("run", study, "--out", tmp_path / "out", "--json", **path).stdout)["summary"]
    trained = {arm["arm"]: arm["trainable_parameters"] for arm in summary["arms"]}
    assert 0 < trained["biases"] < trained["full"] / 10
    answer = tuneoff("plan", study)
    assert answer.returncode == 2
    assert "unknown method 'biases'" in answer.stderr


@pytest.mark.parametrize(
    ("code", "point", "said"),
    [
        (
            "import nonsense_of_no_package",
            "biases = tuneoff_more:Biases",
            "of tuneoff-more cannot be loaded: ",
        ),
        ("Biases = print", "biases = tuneoff_more:Biases", "the method 'biases' of tuneoff-more is no ArmSpec"),
        (METHOD.replace('"biases"', '"lora"'), "other = tuneoff_more:Biases", "two methods are called 'lora': "),
    ],
    ids=["broken", "something-else", "name-taken"],
)
def test_what_cannot_be_used_is_said_in_one_line(
    code: str, point: str, said: str, install: Install, tuneoff: Command
) -> None:
    answer = tuneoff("methods", **install(code, "tuneoff.methods", point))
    assert answer.returncode == 2
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not answer.stdout


@pytest.fixture
def hooked(install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The methods with hooks of the guide, imported here; the registry of this process does not learn of them."""
    METHODS.classes()
    install(HOOKED, "tuneoff.methods", "turned_prompts = tuneoff_more:TurnedPrompts")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield importlib.import_module("tuneoff_more")
    del sys.modules["tuneoff_more"]


CPU = torch.device("cpu")


def _tokens() -> Tokens:
    lengths = np.array([5, 9, 5, 3, 7, 9, 6, 4])
    draw = np.random.default_rng(4)
    ids = draw.integers(4, 20, size=lengths.sum()).astype(np.int32)
    return Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]), draw.integers(0, 3, size=len(lengths)))


def _engine(arm: ArmSpec, model: Path, precision: torch.dtype = torch.float32) -> Engine:
    loaded = load_classifier(model, load_config(model, 3, 0), 0, CPU)
    torch.manual_seed(1)
    return make_engine(arm.adapt(loaded), loaded, TrainingSpec(batch_size=4), CPU, precision, arm=arm)


def _train(engine: Engine, steps: int, of: int | None = None) -> None:
    batches = [np.arange(4), np.arange(4, 8)] * (of or steps)
    if of is None:
        engine.prepare(_tokens(), batches[:steps])
    done = engine._steps_done
    list(engine.steps(_tokens(), [(rows, 1e-2) for rows in batches[done : done + steps]]))


def _named(engine: Engine, part: str) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in engine.model.named_parameters() if part in name}


def test_virtual_tokens_of_another_package_are_trained(hooked: ModuleType, tiny_model: Path) -> None:
    arm = hooked.TurnedPrompts(num_virtual_tokens=3)
    engine = _engine(arm, tiny_model)
    assert engine.describe()["batches"] == "packed"
    before = _named(engine, "token_adapter.encoder")
    rows = _named(engine, "trainable_tokens_delta")
    tokens = _tokens().with_virtual(VirtualTokens(ids_behind(len(_table(engine)), 3), 1))
    list(engine.steps(tokens, [(np.arange(8), 1e-2)] * 3))
    assert len(before) == len(rows) == 1
    for name, value in (before | rows).items():
        assert not torch.equal(value, engine.model.get_parameter(name))


def _table(engine: Engine) -> torch.Tensor:
    (table,) = _named(engine, "word_embeddings.token_adapter.base_layer").values()
    return table


def test_parts_of_a_method_have_rates_and_a_precision_of_their_own(hooked: ModuleType, tiny_model: Path) -> None:
    class Still(hooked.AveragedLora):  # type: ignore[name-defined, misc]
        after_step = ArmSpec.after_step
        factor: float = 1.0

        def rate_factors(self, model: Any) -> dict[str, float]:
            return dict.fromkeys(super().rate_factors(model), self.factor)

    moved = {}
    for factor in (0.0, 1.0, 4.0):
        engine = _engine(Still(factor=factor, lora_dropout=0.0), tiny_model, torch.bfloat16)
        assert {weight.dtype for weight in _named(engine, "lora_").values()} == {torch.float32}
        assert {weight.dtype for weight in _named(engine, "base_layer").values()} == {torch.bfloat16}
        before = _named(engine, "lora_B")
        _train(engine, 1)
        after = _named(engine, "lora_B")
        moved[factor] = sum(float((after[name] - before[name]).abs().sum()) for name in before)
    assert moved[0.0] == 0.0
    # Adam's first step is as long as its rate
    assert moved[4.0] == pytest.approx(4 * moved[1.0], rel=1e-2)


def test_what_a_method_keeps_from_step_to_step_is_in_checkpoints(hooked: ModuleType, tiny_model: Path) -> None:
    whole = _engine(hooked.AveragedLora(), tiny_model)
    _train(whole, 6)
    first = _engine(hooked.AveragedLora(), tiny_model)
    first.prepare(_tokens(), [np.arange(4)] * 6)
    _train(first, 4, of=6)
    second = _engine(hooked.AveragedLora(), tiny_model)
    second.prepare(_tokens(), [np.arange(4)] * 6)
    second.restore(first.state())
    _train(second, 2, of=6)
    np.testing.assert_array_equal(whole.logits(_tokens()), second.logits(_tokens()))
    averages = dict(whole.model.named_buffers())
    ended = _named(whole, "lora_B")
    assert all(torch.equal(weight, averages[name.replace(".", "_")]) for name, weight in ended.items())


@pytest.mark.long
def test_methods_with_hooks_of_another_package_are_arms_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    path = install(HOOKED, "tuneoff.methods", "a = tuneoff_more:TurnedPrompts\nb = tuneoff_more:AveragedLora")
    study = tmp_path / "study.toml"
    arms = [f'method = "{method}"\nlearning_rate = 1e-3' for method in ("turned_prompts", "averaged_lora")]
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    answer = tuneoff("run", study, "--out", tmp_path / "out", "--json", **path)
    assert answer.returncode == 0, answer.stderr
    assert all(arm["trainable_parameters"] > 0 for arm in json.loads(answer.stdout)["summary"]["arms"])


@pytest.mark.long
def test_an_architecture_of_another_package_is_known(
    install: Install, tuneoff: Command, data_files: Path, tmp_path: Path
) -> None:
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        ModernBertDecoderConfig,
        ModernBertDecoderModel,
    )

    model = tmp_path / "model"
    config = ModernBertDecoderConfig(
        vocab_size=save_tokenizer(model), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=64, local_attention=8, pad_token_id=0, initializer_range=0.2,
    )  # fmt: skip
    ModernBertDecoderModel(config).save_pretrained(model)
    study = tmp_path / "study.toml"
    study.write_text(study_toml(model, data_files, ["full"], seeds=1, epochs=1, precision='"fp32"'))
    path = install(ARCHITECTURE, "tuneoff.architectures", "m = tuneoff_more:ModernBertDecoder")
    answer = tuneoff("run", study, "--out", tmp_path / "out", **path)
    assert answer.returncode == 0, answer.stderr
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert json.loads((run / "result.json").read_text())["conditions"]["engine"]["batches"] == "packed"
    saved = AutoModelForSequenceClassification.from_pretrained(run / "model", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    texts = pd.read_parquet(tmp_path / "out" / "data" / "test.parquet")["text"]
    stored = np.stack(list(pd.read_parquet(run / "predictions.parquet")["logits"]))
    for text, logits in zip(texts[:10], stored, strict=False):
        inputs = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
        with torch.no_grad():
            alone = saved(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[0]
        np.testing.assert_allclose(logits, alone.numpy(), rtol=0, atol=1e-5)
    taken = ARCHITECTURE.replace('"modernbert-decoder"', '"bert"')
    answer = tuneoff("plan", study, **install(taken, "tuneoff.architectures", "m = tuneoff_more:ModernBertDecoder"))
    assert answer.returncode == 2
    assert "two architectures are called 'bert': " in answer.stderr


@pytest.fixture
def database(data_files: Path, tmp_path: Path) -> Path:
    """The made-up reviews to train on, in an SQLite database."""
    path = tmp_path / "reviews.db"
    with closing(sqlite3.connect(path)) as connection:
        pd.read_csv(data_files / "train.csv").to_sql("reviews", connection, index_label="id")
    return path


def sqlite_study(model: Path, data_files: Path) -> str:
    """A study of one arm on rows that the guide's source finds."""
    files, sqlite = (f'train = "{data_files / "train.csv"}"\ntest = "{data_files / "test.csv"}"', SQLITE_FIELDS)
    toml = study_toml(model, data_files, ["head_only"], seeds=1).replace('source = "files"', 'source = "sqlite"')
    assert files in toml
    return toml.replace(files, sqlite)


SQLITE_FIELDS = 'file = "reviews.db"\nquery = "SELECT text, label FROM reviews ORDER BY id"'


@pytest.mark.long
def test_a_data_source_of_another_package_is_a_source_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, database: Path, tmp_path: Path
) -> None:
    path = install(SOURCE, *point_of("a-data-source"))
    (tmp_path / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    answer = tuneoff("run", "study.toml", "--out", "out", **path)
    assert answer.returncode == 0, answer.stderr
    kept = pd.concat(
        [pd.read_parquet(tmp_path / "out" / "data" / f"{name}.parquet") for name in ("train", "validation", "test")]
    ).sort_values("row")
    rows = pd.read_csv(data_files / "train.csv")
    assert kept["text"].tolist() == rows["text"].tolist()
    assert kept["label"].tolist() == rows["label"].tolist()
    assert set(kept["source_file"]) == {"reviews.db"}
    assert kept["source_row"].tolist() == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.querry=SELECT 1", "unknown field 'data.querry'; did you mean 'query'?"),
        ("data.file=", "data.file: string should have at least 1 character"),
        ("data.file=other.db", "data.file: there is no file 'other.db'"),
        ("data.query=SELECT text FROM nowhere", "data.query: no such table: nowhere"),
        ("data.query=SELECT text FROM reviews", "reviews.db: none of its columns (text) has a usual name"),
        ("data.source=sqlight", "data.source must be 'hub', 'files', 'sqlite' or 'reviews'"),
    ],
)
def test_what_is_wrong_with_a_source_of_another_package_is_said_in_one_line(
    setting: str, said: str, install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, database: Path
) -> None:
    (database.parent / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    answer = tuneoff("audit", "study.toml", "--set", setting, **install(SOURCE, *point_of("a-data-source")))
    assert answer.returncode == 2
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_source_of_a_package_that_is_not_installed_is_unknown(
    tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    answer = tuneoff("plan", "study.toml")
    assert answer.returncode == 2
    assert "data.source must be 'hub', 'files' or 'reviews'" in answer.stderr


def test_a_study_with_a_source_of_another_package_is_like_any_to_programs(
    install: Install, tiny_model: Path, data_files: Path, database: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(sqlite_study(tiny_model, data_files))
    code = """import json, pickle, sqlite3, sys
from tuneoff.spec import load_study
spec = load_study(sys.argv[1])
copy = pickle.loads(pickle.dumps(spec))
assert "pyarrow" not in sys.modules and "torch" not in sys.modules
before = [spec.data.fingerprint(), copy.data.fingerprint()]
with sqlite3.connect(sys.argv[2]) as connection:
    connection.execute("UPDATE reviews SET text = 'quite another text' WHERE id = 7")
found = {"equal": copy == spec, "toml": copy.to_toml(), "before": before, "after": spec.data.fingerprint()}
print(json.dumps(found | {"class": type(copy.data).__name__}))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "study.toml", database],
        cwd=tmp_path,
        env={**os.environ, **install(SOURCE, *point_of("a-data-source"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["equal"]
    assert found["class"] == "SqliteData"
    data = tomllib.loads(found["toml"])["data"]
    assert (data["source"], data["file"], data["sampling"]) == ("sqlite", "reviews.db", "stratified")
    assert found["before"][0] == found["before"][1] != found["after"]


@pytest.mark.long
def test_a_tracker_and_an_executor_of_another_package(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    (group, diary), (other_group, one_by_one) = point_of("a-tracker"), point_of("an-executor")
    code = guide("a-tracker") + guide("an-executor")
    path = install(code, group, f"{diary}\n[{other_group}]\n{one_by_one}")
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(study_toml(tiny_model, data_files, ["head_only", "ia3"], seeds=1))
    beside = ("--set", "tracking.diary=true", "--executor", "one-by-one")
    for _ in range(2):  # what has been told is not told again
        answer = tuneoff("run", study, "--out", out, *beside, **path)
        assert answer.returncode == 0, answer.stderr
        *runs, end = (out / "diary.txt").read_text().splitlines()
        assert [line.split()[1:] for line in runs] == [["head_only", "ok"], ["ia3", "ok"]]
        assert len({line.split()[0] for line in runs}) == 2
        assert end == "tiny has ended"
    assert f"diary: {out / 'diary.txt'}" in answer.stdout
    assert len(list((out / "runs").iterdir())) == 2
    assert tuneoff("run", study, "--out", tmp_path / "plain", "--set", "training.device=cpu").returncode == 0
    for run in (out / "runs").iterdir():  # what carries a run out decides nothing of its result
        results = [
            json.loads((folder / "runs" / run.name / "result.json").read_text()) for folder in (out, tmp_path / "plain")
        ]
        assert results[0]["predictions_sha256"] == results[1]["predictions_sha256"]
    for setting, said in (
        (
            "execution.executor=one-by-on",
            "execution.executor: unknown executor 'one-by-on'; did you mean 'one-by-one'?",
        ),
        ("tracking.dairy=true", "unknown field 'tracking.dairy'; did you mean 'diary'?"),
    ):
        answer = tuneoff("plan", study, "--set", setting, **path)
        assert answer.returncode == 2
        assert said in answer.stderr
    study.write_text(study.read_text().replace('name = "tiny"', 'name = "secret"'))
    answer = tuneoff("run", study, "--out", tmp_path / "hidden", *beside, **path)
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert "the study is secret" in answer.stderr
    assert not (tmp_path / "hidden").exists()


def test_a_quantization_of_another_package_stores_a_backbone(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    path = install(guide("a-quantization"), *point_of("a-quantization"))
    assert "nf4-single" in json.loads(tuneoff("methods", "lora", "--json", **path).stdout)["lora"]["quantizations"]
    study = tmp_path / "study.toml"
    arm = 'method = "ia3"\nlearning_rate = 1e-2\nquantization = "nf4-single"'
    study.write_text(study_toml(tiny_model, data_files, [arm], seeds=1))
    assert tuneoff("run", study, "--out", tmp_path / "out", **path).returncode == 0
    (model,) = (tmp_path / "out" / "runs").glob("ia3-*/model")
    stored = json.loads((model / "quantization_config.json").read_text())
    assert (stored["bnb_4bit_quant_type"], stored["bnb_4bit_use_double_quant"]) == ("nf4", False)
    assert "0" in tuneoff("predict", model, "good film", **path).stdout
    answer = tuneoff("plan", study)
    assert answer.returncode == 2
    assert "unknown quantization 'nf4-single'" in answer.stderr
