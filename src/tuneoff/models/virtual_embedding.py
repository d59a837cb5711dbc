"""The embeddings of virtual tokens: rows behind a model's vocabulary, the only ones of its table that are trained.

peft keeps them as trained tokens, for which the table must be longer. Here it is so only while peft builds its layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class VirtualEmbedding(TrainableTokensLayer):  # type: ignore[misc]
    """peft's layer of trained tokens, without a copy of the table and a gradient for all of it in each step.

    Attributes:
        encoder: what makes the embeddings of virtual tokens from the trained rows; they are these rows where None.
    """

    encoder: nn.Module | None

    @property
    def rows(self) -> torch.Tensor:
        """The embeddings of the virtual tokens, shape (virtual tokens, width)."""
        (adapter,) = self.active_adapters
        trained: torch.Tensor = self.trainable_tokens_delta[adapter]
        return trained if self.encoder is None else self.encoder(trained)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        (adapter,) = self.active_adapters
        first = self.token_indices[adapter][0]
        of_texts: torch.Tensor = self.base_layer(x.clamp(max=first - 1))
        rows = self.rows.to(of_texts.dtype)
        scale = self._get_embed_scale()
        if scale is not None:
            rows = rows * scale.to(rows.dtype)
        virtual = nn.functional.embedding((x - first).clamp(min=0), rows)
        return torch.where((x >= first)[..., None], virtual, of_texts)


@contextmanager
def longer_table(classifier: PreTrainedModel, count: int) -> Iterator[dict[str, list[int]]]:
    """Inside, a model's table of embeddings has further rows, which are some of its others, drawn at random.

    Yields:
        The ids of the further rows, by the names of the modules that look them up: one, or two of two stacks.
    """
    own = classifier.get_input_embeddings()
    table = own.weight
    known = len(table)
    drawn = torch.randint(known, (count,)).to(table.device)
    longer = nn.Parameter(torch.cat([table.detach(), table.detach()[drawn]]), requires_grad=False)
    holders = {name: module for name, module in classifier.named_modules() if module._parameters.get("weight") is table}
    read = [name for name, module in holders.items() if module is not own] or list(holders)
    _set_table(holders.values(), longer)
    try:
        yield {name: list(range(known, known + count)) for name in read}
    finally:
        _set_table(holders.values(), table.requires_grad_(False))  # as peft has done to the longer one


def look_up_rows(model: nn.Module, encoder: nn.Module | None = None) -> None:
    """Makes `VirtualEmbedding`s of a model's layers of trained tokens, all with the rows of the first."""
    layers: list[Any] = [module for module in model.modules() if isinstance(module, TrainableTokensLayer)]
    for layer in layers:
        layer.__class__ = VirtualEmbedding
        layer.encoder = encoder
        layer.trainable_tokens_delta = layers[0].trainable_tokens_delta


def merge_rows(classifier: PreTrainedModel) -> None:
    """Puts the embeddings of virtual tokens at the end of the table, and plain layers in the place of peft's."""
    from peft.utils.other import TrainableTokensWrapper

    wrapped = {name: one for name, one in classifier.named_modules() if isinstance(one, TrainableTokensWrapper)}
    if not wrapped:
        return
    layer = next(iter(wrapped.values())).token_adapter
    table = layer.base_layer.weight
    longer = nn.Parameter(torch.cat([table.detach(), layer.rows.detach().to(table)]), requires_grad=False)
    for name, one in wrapped.items():
        classifier.set_submodule(name, one.token_adapter.base_layer)
    holders = [module for module in classifier.modules() if module._parameters.get("weight") is table]
    _set_table(holders, longer)
    classifier.config.get_text_config().vocab_size = len(longer)


def encoded_rows(model: nn.Module, tensors: dict[str, torch.Tensor], adapter: str) -> None:
    """Puts the embeddings of virtual tokens into `tensors`, in place of what an encoder makes them from."""
    for name, layer in model.named_modules():
        if isinstance(layer, VirtualEmbedding) and layer.encoder is not None:
            tensors[f"{name}.trainable_tokens_delta.{adapter}"] = layer.rows.detach()


def _set_table(holders: Iterable[Any], table: nn.Parameter) -> None:
    for module in holders:
        module.weight = table
        module.num_embeddings = len(table)
