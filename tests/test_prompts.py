"""Virtual tokens: where they stand, that they count, and that what is saved, merged and exported knows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from conftest import Command, study_toml
from tiny_models import model_folder
from tuneoff.models.load import load_tokenizer
from tuneoff.models.virtual_tokens import are_put_in, load_as_written, place_in_texts, put_into_texts

VIRTUAL = (60, 61, 62)
TEMPLATE = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)
BYTES = processors.ByteLevel(trim_offsets=False)
PROCESSORS = {
    "template": TEMPLATE,
    "BERT's": processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)),
    "RoBERTa's": processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2), add_prefix_space=False),
    "one of two": processors.Sequence([BYTES, TEMPLATE]),
    "first token alone": processors.TemplateProcessing(
        single="[CLS] $A", pair="[CLS] $A [CLS] $B:1", special_tokens=[("[CLS]", 2)]
    ),
    "last token alone": processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B:1 [SEP]:1", special_tokens=[("[SEP]", 3)]
    ),
    "without a template": BYTES,
    "none": None,
}


@pytest.mark.parametrize("kind", PROCESSORS)
def test_they_stand_behind_what_a_text_starts_with(kind: str, tmp_path: Path) -> None:
    model_folder("bert", tmp_path)
    backend = Tokenizer.from_str(load_tokenizer(tmp_path).backend_tokenizer.to_str())
    if PROCESSORS[kind] is None:
        definition = json.loads(backend.to_str())
        backend = Tokenizer.from_str(json.dumps({**definition, "post_processor": None}))
    else:
        backend.post_processor = PROCESSORS[kind]
    before = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=64
    )
    before.save_pretrained(tmp_path / "before")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "before")
    place = place_in_texts(tokenizer)
    assert place == (1 if "[CLS]" in tokenizer.convert_ids_to_tokens(before("a").input_ids) else 0)
    put_into_texts(tokenizer, VIRTUAL)
    tokenizer.save_pretrained(tmp_path / "after")
    load_as_written(tmp_path / "after")
    after = AutoTokenizer.from_pretrained(tmp_path / "after")
    for texts in (("good film",), ("good film", "a dull one")):
        without, with_them = before(*texts), after(*texts)
        expected = [*without.input_ids[:place], *VIRTUAL, *without.input_ids[place:]]
        assert with_them.input_ids == expected
        types = without.encodings[0].type_ids
        assert with_them.encodings[0].type_ids == [*types[:place], 0, 0, 0, *types[place:]]
        cut = after(*texts, truncation=True, max_length=len(expected) - 1).input_ids
        assert len(cut) == len(expected) - 1
        assert cut[place : place + 3] == list(VIRTUAL)


WORDS = {
    word: index for index, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film", "one"])
}
CLASSES = {
    "albert": "AlbertTokenizer",
    "bart": "BartTokenizer",
    "bert": "BertTokenizer",
    "camembert": "CamembertTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "funnel": "FunnelTokenizer",
    "gpt2": "GPT2Tokenizer",
    "llama": "LlamaTokenizer",
    "mpnet": "MPNetTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "roberta": "RobertaTokenizer",
    "t5": "T5Tokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "xlnet": "XLNetTokenizer",
}
UNIGRAM = ("albert", "camembert", "deberta-v2", "t5", "xlm-roberta", "xlnet")
"""transformers' own tokenizers, some of which write their template anew when they are loaded."""


@pytest.mark.parametrize("model_type", CLASSES)
def test_they_are_there_again_once_a_tokenizer_is_loaded(model_type: str, tmp_path: Path) -> None:
    for name in ("before", "after"):
        words = [(word, -1.0) for word in WORDS] if model_type in UNIGRAM else WORDS
        getattr(transformers, CLASSES[model_type])(vocab=words).save_pretrained(tmp_path / name)
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": model_type}))
    before, tokenizer = (AutoTokenizer.from_pretrained(tmp_path / name) for name in ("before", "after"))
    place = place_in_texts(tokenizer)
    put_into_texts(tokenizer, VIRTUAL)
    tokenizer.save_pretrained(tmp_path / "after")
    load_as_written(tmp_path / "after")
    after = AutoTokenizer.from_pretrained(tmp_path / "after")
    assert are_put_in(after, VIRTUAL)
    assert not are_put_in(before, VIRTUAL)
    for texts in (("a good film",), ("a good film", "one")):
        without = before(*texts).input_ids
        assert after(*texts).input_ids == [*without[:place], *VIRTUAL, *without[place:]]


PROMPTED = [
    'method = "prompt_tuning"\nlearning_rate = 1e-2\nnum_virtual_tokens = 4',
    'method = "p_tuning"\nlearning_rate = 1e-3\nnum_virtual_tokens = 6\nencoder_hidden_size = 24',
]


@pytest.mark.wide
def test_a_study_with_them_and_its_exports(
    tuneoff: Command, tmp_path: Path, tiny_model: Path, data_files: Path
) -> None:
    study, out = tmp_path / "study.toml", tmp_path / "out"
    study.write_text(study_toml(tiny_model, data_files, PROMPTED, seeds=1))
    answer = tuneoff("run", "--no-report", study, "--out", out, "--json")
    assert answer.returncode == 0, answer.stderr
    for arm, tokens in (("prompt_tuning", 4), ("p_tuning", 6)):
        (model,) = out.glob(f"runs/{arm}-*/model")
        saved = load_file(model / "adapter_model.safetensors")
        assert [len(value) for name, value in saved.items() if "token_adapter" in name] == [tokens]
        # Each is loaded again, and scored against the study's predictions.
        for kind in ("model", "merged", "onnx") if arm == "p_tuning" else ("merged",):
            exported = tuneoff("export", out, "--arm", arm, "--to", tmp_path / f"{arm}-{kind}", "--format", kind)
            assert exported.returncode == 0, exported.stderr


def test_they_have_to_fit(tuneoff: Command, tmp_path: Path, tiny_model: Path, data_files: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(study_toml(tiny_model, data_files, ['method = "prompt_tuning"\nnum_virtual_tokens = 60'], seeds=1))
    answer = tuneoff("run", study, "--out", tmp_path / "out")
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert "arm 'prompt_tuning': data.max_length = 32 and 60 virtual tokens" in answer.stderr
    assert "set data.max_length = " in answer.stderr


def test_a_head_is_not_given_a_virtual_token_to_read(
    tuneoff: Command, tmp_path: Path, tiny_model: Path, data_files: Path
) -> None:
    model = tmp_path / "model"
    model_folder("bert", model)
    definition = json.loads((model / "tokenizer.json").read_text())
    definition["post_processor"] = None
    (model / "tokenizer.json").write_text(json.dumps(definition))
    study = tmp_path / "study.toml"
    arms = ['method = "prompt_tuning"\nnum_virtual_tokens = 2']
    study.write_text(study_toml(model, data_files, arms, seeds=1).replace("max_length = 32", "max_length = 20"))
    answer = tuneoff("run", study, "--out", tmp_path / "out")
    assert answer.returncode == 2
    assert "would be a virtual one" in answer.stderr
