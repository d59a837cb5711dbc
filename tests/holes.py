"""Cells of the matrix that do not work, each with its cause, for `docs/compatibility.md`; the tests hold it true."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hole:
    """Methods that lack something on some architectures.

    Attributes:
        what: that does not work: `builds`, `merges`, `checkpointing`.
        methods: their names; all that are trained in steps when empty.
        kinds: architectures as `tiny_models` has them; all when empty.
        cause: why, for `docs/compatibility.md`.
    """

    what: str
    methods: tuple[str, ...]
    kinds: tuple[str, ...]
    cause: str


CONV1D = (
    "beft", "boft", "c3a", "delora", "glora", "hra", "loha", "lokr", "miss", "oft", "peanut", "psoft", "road",
    "shira", "supertuning",
)  # fmt: skip
GPTS = ("gpt2", "openai-gpt")
NO_BIAS = (
    "modernbert", "modernbert mean", "eurobert", "llama", "mistral", "gemma", "gemma2", "gemma3_text", "smollm3",
    "olmo2", "phi3", "qwen3", "modernbert-decoder", "olmo", "olmo3", "ministral", "ministral3", "exaone4",
    "arcee", "qwen3_moe", "mixtral", "helium", "mpt",
)  # fmt: skip
"""No linear layer of theirs, nor a normalisation layer, has one."""
NO_BIAS_OF_VALUES = ("deberta", "gpt_neo", "gptj", "falcon", "t5", "mt5", "stablelm", "nemotron", "nomic_bert")
HOLES = (
    Hole("builds", CONV1D, GPTS, "peft builds it into torch.nn.Linear alone, and these layers are Conv1D"),
    Hole("builds", ("olora",), GPTS, "peft's QR decomposition of a Conv1D gives factors of the wrong shapes"),
    Hole(
        "builds",
        ("pfeiffer",),
        ("mixtral", "qwen3_moe"),
        "their experts are bare tensors: there is no layer to put a bottleneck behind",
    ),
    Hole(
        "builds",
        ("eva",),
        ("longformer", "funnel", "xlnet"),
        "peft reads a layer's inputs by the places of the texts' tokens; these compute states in other shapes",
    ),
    Hole(
        "builds",
        ("glora",),
        ("falcon",),
        "peft builds it into torch.nn.Linear alone; Falcon's layers are not",
    ),
    Hole("builds", ("bitfit",), NO_BIAS, "the model has no biases"),
    Hole("builds", ("ln_tuning",), ("olmo",), "its normalisation layers have no weights"),
    Hole("builds", ("last_layers",), ("albert",), "its blocks are one and the same: to train it is full fine-tuning"),
    Hole(
        "merges",
        ("beft",),
        (*NO_BIAS, *NO_BIAS_OF_VALUES),
        "what it adds is a bias, and peft has nowhere to merge it to in layers without",
    ),
    Hole(
        "checkpointing",
        (),
        ("albert", "mpnet", "xlnet", "xlm", "flaubert", "funnel", "openai-gpt"),
        "transformers has none for this architecture",
    ),
)


def hole_of(method: str, kind: str, what: str) -> Hole | None:
    """The hole that says of a method on an architecture that something does not work."""
    found = (
        hole
        for hole in HOLES
        if hole.what == what and (not hole.methods or method in hole.methods) and (not hole.kinds or kind in hole.kinds)
    )
    return next(found, None)
