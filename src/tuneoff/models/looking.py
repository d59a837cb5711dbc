"""The record of a model: its architecture's, or one made by looking at a model of an unknown one."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.models.architecture import ARCHITECTURES, Architecture, Layers, Padding, Pooling
from tuneoff.models.guard import told_in_one_line
from tuneoff.models.layers import find_linear, linear_names
from tuneoff.models.quiet import transformers_quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Unknown(Architecture):
    """Of an architecture without a record: the model itself pools, and nothing is assumed that its build does not show.

    Args:
        config: of the model.
        model: of that configuration, perhaps on the meta device.
    """

    def __init__(self, config: Any, model: PreTrainedModel) -> None:
        from torch import nn
        from transformers.modeling_layers import GenericForSequenceClassification

        super().__init__(config)
        self.shares_blocks = True  # which costs next to nothing where it is not so
        if isinstance(model, GenericForSequenceClassification):  # whose backbones are all decoders
            self.pooling = Pooling.LAST
        elif config.is_encoder_decoder:
            self.padding = Padding.EQUAL_ENDS
        else:
            self.padding = Padding.EQUAL_LENGTHS
        self.positions_after_padding = any(
            isinstance(module, nn.Embedding) and module.padding_idx is not None
            for name, module in model.named_modules()
            if name.endswith("position_embeddings")
        )
        lists = {name: module for name, module in model.base_model.named_modules() if isinstance(module, nn.ModuleList)}
        if not lists:
            raise UserError(f"model.id: the architecture '{config.model_type}' is not supported: it has no blocks")
        self.blocks = max(lists, key=lambda name: sum(weight.numel() for weight in lists[name].parameters()))
        self.layers = _layers_like_those_of_a_known_one(model)


def architecture_of(config: Any, model: PreTrainedModel | None = None) -> Architecture:
    """What is known of a model's architecture.

    Args:
        config: of the model.
        model: of that configuration, not yet adapted; one on the meta device is made where an unknown architecture
            has to be looked at and none is given.

    Raises:
        UserError: where transformers has no classifier of this architecture.
    """
    known = ARCHITECTURES.classes().get(config.model_type)
    if known is not None:
        return known(config)
    return Unknown(config, model or bare_classifier(config))


@transformers_quiet()
def bare_classifier(config: Any) -> PreTrainedModel:
    """A classifier on the meta device: shapes and names, no memory.

    Raises:
        UserError: where transformers has none of this architecture.
    """
    import torch
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, AutoModelForSequenceClassification

    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise UserError(
            f"model.id: the architecture '{config.model_type}' is not supported: transformers has no classifier for it"
        )
    with told_in_one_line("model.id: no model can be built from its config.json"), torch.device("meta"):
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    return model


def _layers_like_those_of_a_known_one(model: PreTrainedModel) -> Layers | None:
    """Names that known architectures have: all of one, or else of the attention and of the rest apart."""
    names = linear_names(model.base_model)

    def there(*wanted: str | None) -> bool:
        return all(name is not None and find_linear(names, name) for name in wanted)

    # Those of most layers first: Llama's names are Nemotron's and one more, which is not to be left out.
    known = sorted((layers for layers in _known_layers() if layers.attention), key=lambda layers: -len(layers.names))
    for layers in known:
        if there(*layers.names):
            return layers
    inputs = next((one for one in known if there(one.query, one.key, one.value)), None)
    output = next((one for one in known if there(one.output)), None)
    found = (one for one in known if one.feedforward and there(*one.feedforward))
    rest = max(found, key=lambda one: len(one.feedforward), default=None)
    if inputs is None or output is None or rest is None:
        return None
    return Layers(inputs.query, inputs.key, inputs.value, output.output, rest.feedforward)


@cache
def _known_layers() -> list[Layers]:
    """All that architectures of a fixed build have, each once."""
    found = (getattr(architecture, "layers", None) for architecture in ARCHITECTURES.classes().values())
    return list(dict.fromkeys(layers for layers in found if layers is not None))
