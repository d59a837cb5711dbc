"""BERT and the encoders that followed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuneoff.models.architecture import Architecture, Layers, Padding, Pooling

if TYPE_CHECKING:
    import torch

FEEDFORWARD = ("intermediate.dense", "layer.*.output.dense")


class Bert(Architecture):
    model_type = "bert"
    blocks = "encoder.layer"
    layers = Layers("query", "key", "value", "attention.output.dense", FEEDFORWARD)
    pooling = Pooling.FIRST
    packs = True


class Electra(Bert):
    model_type = "electra"


class Ernie(Bert):
    model_type = "ernie"


class MegatronBert(Bert):
    model_type = "megatron-bert"
    packs = False  # its attention is its own


class RemBert(MegatronBert):
    model_type = "rembert"


class ConvBert(MegatronBert):
    model_type = "convbert"
    padding = Padding.EQUAL_LENGTHS  # its convolutions look beyond a text's end


class Albert(Bert):
    model_type = "albert"
    shares_blocks = True
    blocks = "encoder.albert_layer_groups"
    layers = Layers("query", "key", "value", "attention.dense", ("ffn", "ffn_output"))


class Roberta(Bert):
    model_type = "roberta"
    positions_after_padding = True


class XLMRoberta(Roberta):
    model_type = "xlm-roberta"


class Camembert(Roberta):
    model_type = "camembert"


class XLMRobertaXL(Roberta):
    model_type = "xlm-roberta-xl"
    packs = False  # not tried


class Data2VecText(XLMRobertaXL):
    model_type = "data2vec-text"


class RobertaPreLayerNorm(XLMRobertaXL):
    model_type = "roberta-prelayernorm"


class MPNet(Architecture):
    model_type = "mpnet"
    blocks = "encoder.layer"
    layers = Layers("attn.q", "attn.k", "attn.v", "attn.o", FEEDFORWARD)
    pooling = Pooling.FIRST
    positions_after_padding = True


class DistilBert(Architecture):
    model_type = "distilbert"
    blocks = "transformer.layer"
    layers = Layers("q_lin", "k_lin", "v_lin", "out_lin", ("ffn.lin1", "ffn.lin2"))
    pooling = Pooling.FIRST
    packs = True


class DebertaV2(Architecture):
    model_type = "deberta-v2"
    blocks = "encoder.layer"
    layers = Layers("query_proj", "key_proj", "value_proj", "attention.output.dense", FEEDFORWARD)
    pooling = Pooling.FIRST


class Deberta(DebertaV2):
    model_type = "deberta"
    layers = Layers("in_proj", "in_proj", "in_proj", "attention.output.dense", FEEDFORWARD)


class ModernBert(Architecture):
    model_type = "modernbert"
    blocks = "layers"
    layers = Layers("Wqkv", "Wqkv", "Wqkv", "attn.Wo", ("mlp.Wi", "mlp.Wo"))
    packs = True

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.pooling = Pooling.MEAN if config.classifier_pooling == "mean" else Pooling.FIRST

    def classify(self, classifier: Any, states: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = classifier.classifier(classifier.drop(classifier.head(states)))
        return logits


class EuroBert(Architecture):
    model_type = "eurobert"
    blocks = "layers"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ("gate_proj", "up_proj", "down_proj"))


class XLNet(Architecture):
    model_type = "xlnet"
    blocks = "layer"
    layers = Layers(None, None, None, None, ("ff.layer_1", "ff.layer_2"))  # its attention holds bare tensors
    padding = Padding.EQUAL_LENGTHS  # it reads the last token, pad or not


class FNet(Architecture):
    model_type = "fnet"
    blocks = "encoder.layer"
    layers = Layers(None, None, None, None, FEEDFORWARD)  # Fourier transforms mix its tokens
    padding = Padding.EQUAL_LENGTHS  # and those of padding with them
