"""What has to be known of an architecture of transformers beside its code: one record each, found by its name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from tuneoff.core.errors import UserError
from tuneoff.core.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

USUAL_WIDTH = 768
"""Of a base encoder."""


class Pooling(Enum):
    """Which hidden states a classifier's head reads."""

    FIRST = "first token"
    LAST = "last token that is not the pad token, or the first one where all are"
    MEAN = "mean of all tokens"
    OWN = "a rule that only the model's code knows"


class Padding(Enum):
    """Which texts can be computed together without changing what each gives alone."""

    RIGHT = "any, padded at their ends"
    EQUAL_LENGTHS = "those of equal lengths, without padding"
    EQUAL_ENDS = "those with equally many end-of-text tokens, padded at their ends"


class Attention(Enum):
    """How packed sequences are kept apart where tokens meet."""

    INTERFACE = "by what transformers' `AttentionInterface` calls"
    DISENTANGLED = "by a forward of ours for DeBERTa-v2's modules"


@dataclass(frozen=True)
class Layers:
    """Names of the linear layers of a transformer block, as endings of dotted module names; `*` is any part of a name.

    Those of the attention are None where it has none: it may hold bare tensors, or mix tokens without weights. Experts
    may be bare tensors as well, and there are none of the feed-forward part then.
    """

    query: str | None
    key: str | None
    value: str | None
    output: str | None
    """Of the attention, back to the residual stream."""
    feedforward: tuple[str, ...]
    """In the order of computation; the last one leads back to the residual stream."""

    @property
    def query_value(self) -> tuple[str, ...]:
        """What LoRA's paper adapts (one name where query, key and value are one layer)."""
        return _each_once(self.query, self.value)

    @property
    def key_value(self) -> tuple[str, ...]:
        """What IA3's paper rescales in the attention."""
        return _each_once(self.key, self.value)

    @property
    def attention(self) -> tuple[str, ...]:
        """All of the attention's."""
        return _each_once(self.query, self.key, self.value, self.output)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return _each_once(*self.attention, *self.feedforward)


def _each_once(*names: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name is not None))


class Architecture:
    """What Tuneoff knows of one architecture; an instance is for one configuration.

    A further architecture is a subclass in a file of `tuneoff.models.architectures`, or in another package, which names
    it as an entry point of the group `tuneoff.architectures`. What differs between models of one architecture is set in
    `__init__`, by the configuration.

    Args:
        config: of the model, with its pad token.
    """

    model_type: ClassVar[str]
    """What transformers calls it (`model_type` of a config.json); each class has its own."""
    blocks: str
    """Where the list of transformer blocks is, as a dotted name inside the backbone."""
    layers: Layers | None
    """None where attention has no linear layers that a method could adapt."""
    pooling: Pooling = Pooling.OWN
    padding: Padding = Padding.RIGHT
    packs: bool = False
    """Whether texts can lie end to end in one row: attention is of a kind that `attention` knows, positions are those
    that are handed in, tokens meet nowhere else, and the pooling is known, with `classify` where it is not that of the
    first token."""
    attention: Attention = Attention.INTERFACE
    """Where texts can lie end to end: how their attention is made to."""
    shares_blocks: bool = False
    """Whether a block is called several times in a pass, so that its dropout has to tell the calls apart."""
    first_token_type: int = 0
    """Of a pair of texts; it may have a type of its own, beside 0 and 1 for those of either text."""
    positions_after_padding: bool = False
    """Whether positions are counted from the pad token's number + 1, without literal pad tokens, as in RoBERTa."""

    def __init__(self, config: Any) -> None:
        self.config = config.get_text_config()

    @classmethod
    def registered_name(cls) -> str | None:
        """Its `model_type`; None of a class that only others derive from."""
        return cls.__dict__.get("model_type")

    @property
    def pad_token_id(self) -> int:
        """The token that fills rows up."""
        return int(self.config.pad_token_id)

    @property
    def first_position(self) -> int:
        """The position id of a text's first token."""
        return self.pad_token_id + 1 if self.positions_after_padding else 0

    @property
    def longest_input(self) -> int | None:
        """The most tokens that a text may have, special tokens included; None where nothing limits them."""
        positions = getattr(self.config, "max_position_embeddings", None) or 0
        return positions - self.first_position if positions > 0 else None

    @property
    def shortest_input(self) -> int:
        """The fewest tokens that its code can compute; what is shorter is padded to them."""
        return 1

    @property
    def type_vocab_size(self) -> int:
        """How many types of tokens it has embeddings for; second texts are told apart from two on."""
        return int(getattr(self.config, "type_vocab_size", None) or 0)

    @property
    def width(self) -> int:
        """Of the hidden states: the size by which learning rates start; 768 where the configuration does not say."""
        return int(getattr(self.config, "hidden_size", None) or USUAL_WIDTH)

    @property
    def output_width(self) -> int:
        """Of the last hidden states, which a head reads."""
        return self.width

    @property
    def attention_head_size(self) -> int:
        """Width of one attention head."""
        return int(getattr(self.config, "head_dim", None) or self.width // self.config.num_attention_heads)

    def blocks_of(self, classifier: PreTrainedModel) -> list[nn.Module]:
        """The transformer blocks of a model, in their order."""
        blocks: Any = classifier.base_model.get_submodule(self.blocks)
        return list(blocks)

    @property
    def has_own_classify(self) -> bool:
        """Whether `classify` is to be called; else the model's own `forward` reads the first token of each row."""
        return type(self).classify is not Architecture.classify

    def classify(self, classifier: Any, states: torch.Tensor) -> torch.Tensor:
        """What the classifier's head makes of pooled states, of any shape (..., hidden): logits, shape (..., classes).

        Only of architectures that pack and whose head does not take a row's first token.
        """
        raise NotImplementedError


ARCHITECTURES: Registry[Architecture] = Registry(
    "tuneoff.models.architectures",
    "tuneoff.models.architecture.Architecture",
    "architecture",
    group="tuneoff.architectures",
)


def layers_of(architecture: Architecture) -> Layers:
    """The names of an architecture's linear layers.

    Raises:
        UserError: where it has none that are known; `target_modules` can then be given by hand.
    """
    if architecture.layers is None:
        raise UserError(
            f"the layers of the architecture '{architecture.config.model_type}' are not known here; "
            "give the arm's target_modules"
        )
    return architecture.layers
