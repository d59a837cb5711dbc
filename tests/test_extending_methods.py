"""Methods of other packages, from the guide to them: arms like any, and what their hooks do in training."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from another_package import guide, point_of
from conftest import Command, Install, study_toml
from tuneoff.data.tokens import Tokens
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.virtual_tokens import VirtualTokens, ids_behind
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.training.engines.base import Engine
from tuneoff.training.engines.choose import make_engine

METHOD, HOOKED = guide("a-method"), guide("a-method", number=1)


def test_a_method_of_another_package_is_an_arm_like_any(
    install: Install, tuneoff: Command, tiny_model: Path, data_files: Path, tmp_path: Path
) -> None:
    path = install(METHOD, *point_of("a-method"))
    listed = json.loads(tuneoff("methods", "--json", **path).stdout)
    assert listed["biases"]["summary"] == "trains the biases, and the head"
    assert [option["name"] for option in listed["biases"]["options"]] == [
        "learning_rate",
        "learning_rate_range",
        "long_texts",
        "suffix",
    ]
    study = tmp_path / "study.toml"
    arms = ["full", 'method = "biases"\nlearning_rate = 1e-3']
    study.write_text(study_toml(tiny_model, data_files, arms, seeds=1))
    summary = json.loads(tuneoff("run", "--no-report", study, "--out", tmp_path / "out", "--json", **path).stdout)[
        "summary"
    ]
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
    answer = tuneoff("run", "--no-report", study, "--out", tmp_path / "out", "--json", **path)
    assert answer.returncode == 0, answer.stderr
    assert all(arm["trainable_parameters"] > 0 for arm in json.loads(answer.stdout)["summary"]["arms"])
