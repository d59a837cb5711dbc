"""The lines of Python that load a saved model with plain transformers and peft, or onnxruntime."""

from __future__ import annotations

from tuneoff.core.long_texts import BY_TOKENIZER, OVER_WINDOWS
from tuneoff.records.saved_model import SavedModel

BASE = "BASE"
"""Stands for the base model's folder where lines cannot name it."""
CLASSIFIER = "AutoModelForSequenceClassification"
QUANTISATION_LINES = [
    'with open(folder + "/quantization_config.json") as file:',
    "    quantisation = BitsAndBytesConfig(**json.load(file))",
]
UNPACKED_LINES = [
    "for module in backbone.modules():  # on some CPUs bitsandbytes computes in less than the precision of training",
    '    if hasattr(module, "support_avx512bf16_for_cpu"):',
    "        module.support_avx512bf16_for_cpu = False",
]
WHOLE_TEXTS = '    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="{kind}")'
FEATURE_LINES = [
    "    states = backbone(**inputs).last_hidden_state",
    '    mask = inputs["attention_mask"][:, : states.shape[1], None]',
    "    features = (states * mask).sum(1) / mask.sum(1)",
    '    logits = features @ head["weight"].T + head["bias"]',
]
CUT_LINES = {
    "head+tail": ["    pieces = [own if len(own) <= room else own[: room - room // 2] + own[len(own) - room // 2 :]]"],
    "windows": [
        "    count = max(1, -(-len(own) // room))",
        "    ends = [len(own) // count * place + min(place, len(own) % count) for place in range(count + 1)]",
        "    pieces = [own[start:end] for start, end in zip(ends, ends[1:])]",
    ],
}
ADAPTER_LINES = ["model = PeftModel.from_pretrained(backbone, folder)"]
BOTTLENECK_LINES = [
    "model = backbone.eval()",
    'tensors = load_file(folder + "/bottlenecks.safetensors")',
    "def behind(layer):",
    '    names = ("down.weight", "down.bias", "up.weight", "up.bias")',
    '    down, down_bias, up, up_bias = (tensors.pop(f"{layer}.bottleneck.{name}") for name in names)',
    "    def bottleneck(module, inputs, output):",
    "        return output + gelu(output @ down.T + down_bias) @ up.T + up_bias",
    "    return bottleneck",
    'for layer in [name.split(".bottleneck.")[0] for name in tensors if name.endswith(".bottleneck.down.weight")]:',
    "    model.get_submodule(layer).register_forward_hook(behind(layer))",
    "model.load_state_dict(tensors, strict=False)  # the head",
]
ONNX_LINES = [
    '    logits = session.run(["logits"], {one.name: inputs[one.name] for one in session.get_inputs()})[0]',
]


def longer_table_lines(virtual_tokens: int) -> list[str]:
    """Lines that make room for the embeddings of virtual tokens."""
    return [
        f"rows = backbone.get_input_embeddings().num_embeddings + {virtual_tokens}",
        "backbone.resize_token_embeddings(rows, mean_resizing=False)",
    ]


def loading_lines(saved: SavedModel, folder: str, base: str | None = None) -> str:
    """Lines that give `model` and `tokenizer`; of mean features and ONNX, `classify(texts)` in place of a model.

    Where long texts are not cut by a tokenizer, they give `classify(texts)` too.

    Args:
        saved: what it is.
        folder: of the saved model, as the lines are to call it.
        base: the base model's folder or id; as it is recorded when left out, or `BASE` where that cannot be loaded.
    """
    given = [f"folder = {folder!r}"]
    tokenizer = "tokenizer = AutoTokenizer.from_pretrained(folder)"
    if saved.kind == "onnx":
        by_itself = saved.texts.long_texts in BY_TOKENIZER
        imports = [
            *([] if by_itself else ["import numpy as np"]),
            "import onnxruntime",
            "from transformers import AutoTokenizer",
            "",
        ]
        session = 'session = onnxruntime.InferenceSession(folder + "/model.onnx")'
        return "\n".join([*imports, *given, session, tokenizer, *_classify_lines(saved, ONNX_LINES)])
    if saved.kind == "whole":
        imports = [*_torch(saved), f"from transformers import {CLASSIFIER}, AutoTokenizer", ""]
        model = f"model = {CLASSIFIER}.from_pretrained(folder)"
        return "\n".join([*imports, *given, model, tokenizer, *_long_text_lines(saved)])
    named = base or (saved.base.id if saved.base.revision is not None else None)
    given += [f"base = {named!r}" if named else f"base = {BASE}", "config = AutoConfig.from_pretrained(folder)"]
    options = "base, config=config"
    if saved.base.revision is not None and base is None:
        options += f", revision={saved.base.revision!r}"
    if saved.kind == "features":
        of_encoder = ".get_encoder()" if saved.base.is_encoder_decoder else ""
        return "\n".join(
            [
                *_torch(saved),
                "from safetensors.torch import load_file",
                "from transformers import AutoConfig, AutoModel, AutoTokenizer",
                "",
                *given,
                f"backbone = AutoModel.from_pretrained({options}){of_encoder}",
                'head = load_file(folder + "/head.safetensors")',
                tokenizer,
                *_classify_lines(saved, FEATURE_LINES),
            ]
        )
    adapts = ["from peft import PeftModel"]
    if saved.kind == "bottleneck":
        adapts = ["from safetensors.torch import load_file", "from torch.nn.functional import gelu"]
    imports = [*_torch(saved), *adapts, f"from transformers import AutoConfig, {CLASSIFIER}, AutoTokenizer"]
    if saved.quantised and not saved.base.in_4_bits:
        imports = ["import json", *imports]
        imports[-1] += ", BitsAndBytesConfig"
        given += QUANTISATION_LINES
        options += ", quantization_config=quantisation"
    return "\n".join(
        [
            *imports,
            "",
            *given,
            f"backbone = {CLASSIFIER}.from_pretrained({options}, ignore_mismatched_sizes=True)",
            *(UNPACKED_LINES if saved.quantised else []),
            *(longer_table_lines(saved.virtual_tokens) if saved.virtual_tokens else []),
            *(BOTTLENECK_LINES if saved.kind == "bottleneck" else ADAPTER_LINES),
            tokenizer,
            *_long_text_lines(saved),
        ]
    )


def _torch(saved: SavedModel) -> list[str]:
    """What the lines for windows take of torch."""
    return ["import torch"] if saved.texts.long_texts in OVER_WINDOWS else []


def _long_text_lines(saved: SavedModel) -> list[str]:
    """Lines that classify with `model`, where its tokenizer does not cut by itself as the study did."""
    by_itself = saved.texts.long_texts in BY_TOKENIZER
    return [] if by_itself else _classify_lines(saved, ["    logits = model(**inputs.to(model.device)).logits"])


def _classify_lines(saved: SavedModel, compute: list[str]) -> list[str]:
    """Lines of `classify(texts)`.

    Args:
        saved: the model.
        compute: lines that make `logits` of `inputs`.
    """
    rules, kind = saved.texts, "np" if saved.kind == "onnx" else "pt"
    if rules.long_texts in BY_TOKENIZER:
        return ["def classify(texts):", WHOLE_TEXTS.format(kind=kind), *compute, "    return logits"]
    windows = OVER_WINDOWS.get(rules.long_texts)
    together = "logits"
    if windows is not None:
        split = "np.split(logits, ends)" if kind == "np" else "logits.tensor_split(ends)"
        pooled = "mean" if windows == "mean" else "max" if kind == "np" else "amax"
        together = f"{'np' if kind == 'np' else 'torch'}.stack([one.{pooled}(0) for one in {split}])"
    return [
        "def cut(text):  # into what is read of it",
        "    row = tokenizer(text, return_special_tokens_mask=True)",
        '    ids, marks = row["input_ids"], row["special_tokens_mask"]',
        "    first, last = marks.index(0), len(marks) - marks[::-1].index(0)",
        f"    own, room = ids[first:last], {rules.max_length} - len(ids) + last - first",
        *CUT_LINES["windows" if windows is not None else "head+tail"],
        "    return [ids[:first] + piece + ids[last:] for piece in pieces]",
        "def classify(texts):",
        "    pieces = [cut(text) for text in texts]",
        f'    inputs = tokenizer.pad({{"input_ids": sum(pieces, [])}}, return_tensors="{kind}")',
        *(['    inputs["token_type_ids"] = np.zeros_like(inputs["input_ids"])'] if kind == "np" else []),
        *compute,
        *(
            ["    ends = [sum(map(len, pieces[: place + 1])) for place in range(len(pieces) - 1)]"]
            if windows is not None
            else []
        ),
        f"    return {together}",
    ]
