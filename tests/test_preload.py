"""The fork server: what runs find imported, and what it must have left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stored import saved_model

AS_ON_A_GPU_MACHINE = (
    "import json, sys, torch\ntorch.backends.cuda.is_built = lambda: True\nimport tuneoff.runs.preload\n"
)


IMPORTED = """
from importlib import import_module
before = set(sys.modules)
from tuneoff.spec import ExecutionSpec, TrainingSpec
from tuneoff.spec.arms import METHODS
from tuneoff.spec.data import TASKS
from tuneoff.spec.objectives import OBJECTIVES
from tuneoff.spec.quantization import QUANTIZATIONS
TrainingSpec(), ExecutionSpec()
for registry in (METHODS, TASKS, OBJECTIVES, QUANTIZATIONS):
    registry.classes()
for name in ("tuneoff.models.mean_pooled", "tuneoff.models.virtual_embedding", "tuneoff.training.fit"):
    import_module(name)
import_module("tuneoff.runs.process")
print(json.dumps(sorted(name for name in set(sys.modules) - before if name.startswith("tuneoff"))))
"""
QUANTISED = """
from pathlib import Path
from tuneoff.spec.arms import METHODS
from tuneoff.models.hide import bitsandbytes_hidden
from tuneoff.models.load import load_classifier, load_config
from tuneoff.models.quantised import Quantisation
from tuneoff.models.save import kind_of, save_trained
from tuneoff.records.saved_model import SavedModel
folder, out = map(Path, sys.argv[1:3])
saved = SavedModel.model_validate_json(sys.argv[3])
config = load_config(folder, 2)

def loaded(quantised=None):
    return load_classifier(folder, config, 0, torch.device("cpu"), quantised)

imported = ["bitsandbytes" in sys.modules]
for name in ("full", "lora", "ia3"):
    with bitsandbytes_hidden():
        model = METHODS.classes()[name]().adapt(loaded())
    save_trained(model, out / name, folder, saved.model_copy(update={"kind": kind_of(model)}))
    imported.append("bitsandbytes" in sys.modules)
model = METHODS.classes()["qlora"]().adapt(loaded(Quantisation("nf4", torch.float32)))
layers = {type(module).__module__ + "." + type(module).__name__ for module in model.modules()}
imported.append("peft.tuners.lora.bnb.Linear4bit" in layers)
imported.append("torch._inductor.compile_fx" in sys.modules)
print(json.dumps(imported))
"""


@pytest.fixture(scope="module")
def answers(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the two scripts print, one after the other in one interpreter that has preloaded as one with CUDA would."""
    saved = saved_model("whole", ("bad", "good")).model_dump_json()
    code = AS_ON_A_GPU_MACHINE + IMPORTED + QUANTISED
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_model), str(tmp_path_factory.mktemp("saved")), saved],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_a_run_finds_everything_of_tuneoff_imported(answers: list[Any]) -> None:
    assert answers[0] == []


def test_bitsandbytes_is_imported_by_runs_that_quantise_alone(answers: list[Any]) -> None:
    assert answers[1] == [False, False, False, False, True, False]  # and without PyTorch's compiler


@pytest.mark.long
def test_without_a_gpu_the_fork_server_has_it_without_the_compiler() -> None:
    if torch.backends.cuda.is_built():
        pytest.skip("PyTorch is one for CUDA, where the fork server has no bitsandbytes")
    code = "import json, os, sys, tuneoff.runs.preload\n" + (
        "print([name in sys.modules for name in ('bitsandbytes', 'torch._inductor.compile_fx')], "
        "'TORCHDYNAMO_DISABLE' in os.environ)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[True, False] False\n", done.stderr
