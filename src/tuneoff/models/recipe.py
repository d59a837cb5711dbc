"""The lines of Python that load a saved model with plain transformers and peft, or onnxruntime."""

from __future__ import annotations

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
CLASSIFY_LINES = [
    "def classify(texts):",
    '    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")',
    "    states = backbone(**inputs).last_hidden_state",
    '    mask = inputs["attention_mask"][:, : states.shape[1], None]',
    "    features = (states * mask).sum(1) / mask.sum(1)",
    '    return features @ head["weight"].T + head["bias"]',
]
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
    'session = onnxruntime.InferenceSession(folder + "/model.onnx")',
    "tokenizer = AutoTokenizer.from_pretrained(folder)",
    "def classify(texts):",
    '    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="np")',
    '    return session.run(["logits"], {one.name: inputs[one.name] for one in session.get_inputs()})[0]',
]


def longer_table_lines(virtual_tokens: int) -> list[str]:
    """Lines that make room for the embeddings of virtual tokens."""
    return [
        f"rows = backbone.get_input_embeddings().num_embeddings + {virtual_tokens}",
        "backbone.resize_token_embeddings(rows, mean_resizing=False)",
    ]


def loading_lines(saved: SavedModel, folder: str, base: str | None = None) -> str:
    """Lines that give `model` and `tokenizer`; of mean features and ONNX, `classify(texts)` in place of a model.

    Args:
        saved: what it is.
        folder: of the saved model, as the lines are to call it.
        base: the base model's folder or id; as it is recorded when left out, or `BASE` where that cannot be loaded.
    """
    given = [f"folder = {folder!r}"]
    tokenizer = "tokenizer = AutoTokenizer.from_pretrained(folder)"
    if saved.kind == "onnx":
        return "\n".join(["import onnxruntime", "from transformers import AutoTokenizer", "", *given, *ONNX_LINES])
    if saved.kind == "whole":
        imports = [f"from transformers import {CLASSIFIER}, AutoTokenizer", ""]
        return "\n".join([*imports, *given, f"model = {CLASSIFIER}.from_pretrained(folder)", tokenizer])
    named = base or (saved.base.id if saved.base.revision is not None else None)
    given += [f"base = {named!r}" if named else f"base = {BASE}", "config = AutoConfig.from_pretrained(folder)"]
    options = "base, config=config"
    if saved.base.revision is not None and base is None:
        options += f", revision={saved.base.revision!r}"
    if saved.kind == "features":
        of_encoder = ".get_encoder()" if saved.base.is_encoder_decoder else ""
        return "\n".join(
            [
                "from safetensors.torch import load_file",
                "from transformers import AutoConfig, AutoModel, AutoTokenizer",
                "",
                *given,
                f"backbone = AutoModel.from_pretrained({options}){of_encoder}",
                'head = load_file(folder + "/head.safetensors")',
                tokenizer,
                *CLASSIFY_LINES,
            ]
        )
    adapts = ["from peft import PeftModel"]
    if saved.kind == "bottleneck":
        adapts = ["from safetensors.torch import load_file", "from torch.nn.functional import gelu"]
    imports = [*adapts, f"from transformers import AutoConfig, {CLASSIFIER}, AutoTokenizer"]
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
        ]
    )
