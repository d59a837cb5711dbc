"""What is saved computes what was measured, architecture by architecture; and what is known of each is true of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stored import saved_model
from tiny_models import CONFIGURATIONS, END, PAD, UNKNOWN, VOCABULARY, config_of, model_folder
from tuneoff.core.errors import UserError
from tuneoff.data.tokens import Tokens
from tuneoff.models.architecture import ARCHITECTURES, Padding
from tuneoff.models.layers import find_linear, linear_names
from tuneoff.models.load import load_classifier, load_config, outline
from tuneoff.models.looking import Unknown, architecture_of
from tuneoff.models.recipe import loading_lines
from tuneoff.models.save import kind_of, save_trained
from tuneoff.models.saved import SavedFolder
from tuneoff.spec import TrainingSpec
from tuneoff.spec.arms import METHODS, ArmSpec
from tuneoff.training.engines.choose import make_engine

CPU = torch.device("cpu")
QUICK = {"bert", "roberta", "modernbert mean", "llama", "deberta-v2", "xlnet", "bart", "esm"}


def _tokens(longest: int, ends: bool) -> Tokens:
    """Texts that hold the pad and the end token inside and at their ends, down to nothing else; one is the longest."""
    draw = np.random.default_rng(0)
    texts = [draw.integers(5, VOCABULARY, size=size).tolist() for size in (1, longest - ends, 7, 7, 12, 5, 3, 7)]
    texts += [[PAD], [9, PAD], [PAD, 9, PAD, PAD], [8, END, 9, END], [8, END, PAD, 9, PAD], [END, END], [PAD] * 6]
    texts = [[*text, END] if ends else text for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    ids = np.array([token for text in texts for token in text], dtype=np.int32)
    return Tokens(ids, offsets, draw.integers(0, 3, size=len(texts)))


def _texts(tokens: Tokens) -> list[torch.Tensor]:
    return [
        torch.from_numpy(tokens.ids[start:end].astype(np.int64))
        for start, end in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
    ]


def _arm(method: str, **options: Any) -> ArmSpec:
    return METHODS.classes()[method].model_validate({"method": method, **options})


def _trained(kind: str, method: str, tmp_path: Path) -> tuple[np.ndarray[Any, Any], Tokens, Path, Path]:
    """Logits of the engine after two steps; the texts; the saved model; the pretrained one."""
    source = model_folder(kind, tmp_path / "source")
    config = load_config(source, 3)
    loaded = load_classifier(source, config, 0, CPU)
    architecture = loaded.architecture
    tokens = _tokens(min(architecture.longest_input or 40, 40), ends=architecture.padding is Padding.EQUAL_ENDS)
    arm = _arm(method)
    if method == "lora" and architecture.layers is None:
        with pytest.raises(UserError, match="give the arm's target_modules"):
            arm.adapt(loaded)
        arm = _arm(method, target_modules=[linear_names(loaded.model.base_model)[0].rsplit(".", 1)[-1]])
    torch.manual_seed(0)
    model = arm.adapt(loaded)
    engine = make_engine(model, loaded, TrainingSpec(batch_size=8), CPU, torch.float32, arm=arm)
    list(engine.steps(tokens, [(np.arange(8), 3e-3), (np.arange(8, 15), 3e-3)]))
    saved = saved_model(kind_of(model), ("bad", "good", "neither"))
    save_trained(model, tmp_path / "saved", source, saved)
    return engine.logits(tokens), tokens, tmp_path / "saved", source


def _loaded_plainly(saved: Path, source: Path) -> Any:
    names: dict[str, Any] = {}
    exec(loading_lines(SavedFolder.open(saved).saved, str(saved), str(source)), names)
    return names["model"]


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.long) for kind in CONFIGURATIONS | UNKNOWN]
)
@torch.no_grad()
def test_the_saved_model_gives_the_logits_of_the_engine(kind: str, method: str, tmp_path: Path) -> None:
    with torch.enable_grad():
        logits, tokens, saved, source = _trained(kind, method, tmp_path)
    model = _loaded_plainly(saved, source)
    architecture = architecture_of(load_config(source, 3))
    alone = []
    for text in _texts(tokens):
        spare = (0, max(0, architecture.shortest_input - len(text)))
        row, mask = nn.functional.pad(text, spare, value=PAD), nn.functional.pad(torch.ones_like(text), spare)
        alone.append(model(input_ids=row[None], attention_mask=mask[None]).logits[0])
    np.testing.assert_allclose(logits, torch.stack(alone).numpy(), rtol=0, atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 1e-3, "the texts must differ for this to mean anything"
    if architecture.padding is Padding.RIGHT:
        batch = nn.utils.rnn.pad_sequence(_texts(tokens), batch_first=True, padding_value=PAD)
        mask = torch.arange(batch.shape[1]) < torch.from_numpy(tokens.lengths)[:, None]
        padded = model(input_ids=batch, attention_mask=mask.long()).logits
        np.testing.assert_allclose(logits, padded.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", pytest.param("qwen3", marks=pytest.mark.long)])
@torch.no_grad()
def test_rows_padded_on_the_left_give_the_same(kind: str, tmp_path: Path) -> None:
    with torch.enable_grad():
        logits, tokens, saved, source = _trained(kind, "full", tmp_path)
    # A text of pad tokens alone is told from padding by its mask, which the rule of transformers does not look at.
    rows = [row for row, text in enumerate(_texts(tokens)) if (text != PAD).any()]
    texts = [_texts(tokens)[row] for row in rows]
    batch = nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD, padding_side="left")
    lengths = torch.tensor([len(text) for text in texts])
    mask = torch.arange(batch.shape[1]).flip(0) < lengths[:, None]
    padded = _loaded_plainly(saved, source)(input_ids=batch, attention_mask=mask.long()).logits
    np.testing.assert_allclose(logits[rows], padded.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_what_is_known_of_an_architecture_is_true_of_its_models(kind: str) -> None:
    loaded = outline(config_of(kind))
    architecture, model = loaded.architecture, loaded.model
    assert type(architecture) is ARCHITECTURES.classes()[kind.split()[0]]
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    largest = max(lists, key=lambda blocks: sum(weight.numel() for block in blocks for weight in block.parameters()))
    for mine, theirs in zip(architecture.blocks_of(model), largest, strict=True):
        assert any(module is theirs for module in mine.modules())  # it may hold more than that list does
    if architecture.layers is not None:
        names = [f"{number}.{name}" for number, block in enumerate(largest) for name in linear_names(block)]
        inside = {f"layer.{name}" for name in names}  # some names begin outside of the block
        for wanted in architecture.layers.names:
            assert find_linear([*inside, *linear_names(model.base_model)], wanted), wanted
    outside = {name.split(".")[0] for name, _ in model.named_parameters()} - {model.base_model_prefix}
    assert {head.split(".")[0] for head in loaded.head_modules} == outside
    others = [name for name, _ in model.named_modules() if not name.startswith(loaded.head_modules)]
    # peft takes what ends in these names
    assert not [name for name in others if name.endswith(loaded.head_modules)]
    looked_at = Unknown(model.config, model)
    assert architecture.positions_after_padding == looked_at.positions_after_padding
    assert largest == looked_at.blocks_of(model)
    assert architecture.width == 32


def test_attention_that_depends_on_other_texts_is_not_offered() -> None:
    with pytest.raises(UserError, match="num_landmarks other than segment_means_seq_len is not supported"):
        architecture_of(config_of("nystromformer", segment_means_seq_len=16))
    sparse = config_of("big_bird", max_position_embeddings=4096)
    assert architecture_of(sparse).longest_input == (5 + 2) * 4
    sparse.attention_type = "original_full"
    assert architecture_of(sparse).longest_input == 4096


@pytest.mark.parametrize("blocks", [[1, 2], [1, 1, 1]])
@torch.no_grad()
def test_texts_too_short_for_an_architecture_are_padded(blocks: list[int], tmp_path: Path) -> None:
    source = model_folder("funnel", tmp_path, block_sizes=blocks)
    loaded = load_classifier(source, load_config(source, 3), 0, CPU)
    loaded.model.eval()
    shortest = loaded.architecture.shortest_input
    short, enough = (torch.full((1, length), 7) for length in (shortest - 1, shortest))
    loaded.model(input_ids=enough)
    with pytest.raises(RuntimeError):
        loaded.model(input_ids=short)
    engine = make_engine(loaded.model, loaded, TrainingSpec(batch_size=8), CPU, torch.float32, arm=_arm("full"))
    assert np.isfinite(engine.logits(_tokens(12, ends=False))).all()


def test_every_architecture_is_tried() -> None:
    assert {kind.split()[0] for kind in CONFIGURATIONS} == set(ARCHITECTURES.classes())
    assert not {kind.split()[0] for kind in UNKNOWN} & set(ARCHITECTURES.classes())
