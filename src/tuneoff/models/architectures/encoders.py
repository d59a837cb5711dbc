"""BERT and the encoders that followed it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuneoff.core.errors import UserError
from tuneoff.models.architecture import Architecture, Attention, Layers, Padding, Pooling

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

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


class RoFormer(MegatronBert):
    model_type = "roformer"


class Nystromformer(MegatronBert):
    """Only where it attends in full, as it does by default in transformers.

    Landmarks are means of segments of rows of one fixed length, and scaled by what is largest in the whole batch.
    """

    model_type = "nystromformer"
    padding = Padding.EQUAL_LENGTHS  # its convolutions look beyond a text's end

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.num_landmarks != config.segment_means_seq_len:
            raise UserError(
                "model.id: a Nystromformer with num_landmarks other than segment_means_seq_len is not supported: "
                "its answer to a text depends on the texts that it is computed with"
            )


class MobileBert(Bert):
    model_type = "mobilebert"
    layers = Layers(
        "query",
        "key",
        "value",
        "attention.output.dense",
        ("intermediate.dense", "ffn.*.output.dense", "layer.*.output.dense"),
    )
    packs = False
    padding = Padding.EQUAL_LENGTHS  # its embeddings look at the token that follows


class BigBird(MegatronBert):
    """Only where it attends in full.

    In transformers the first short text switches sparse attention off for all that follow, and what sparse attention
    makes of a text depends on the length of the batch. With `attention_type` "original_full" in its config.json it
    takes texts of any length that it has positions for.
    """

    model_type = "big_bird"

    @property
    def longest_input(self) -> int | None:
        """The most tokens that are attended in full."""
        longest = super().longest_input
        if self.config.attention_type == "original_full" or longest is None:
            return longest
        return min(longest, int((5 + 2 * self.config.num_random_blocks) * self.config.block_size))


class Longformer(Roberta):
    model_type = "longformer"
    layers = Layers("query*", "key*", "value*", "attention.output.dense", FEEDFORWARD)  # the first token has its own
    packs = False  # its attention is its own


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


class Deberta(Architecture):
    model_type = "deberta"
    blocks = "encoder.layer"
    layers = Layers("in_proj", "in_proj", "in_proj", "attention.output.dense", FEEDFORWARD)
    pooling = Pooling.FIRST


class DebertaV2(Deberta):
    model_type = "deberta-v2"
    layers = Layers("query_proj", "key_proj", "value_proj", "attention.output.dense", FEEDFORWARD)
    attention = Attention.DISENTANGLED

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.packs = not getattr(config, "conv_kernel_size", 0)  # a convolution looks beyond a text's end

    @property
    def attention_head_size(self) -> int:
        return int(getattr(self.config, "attention_head_size", None) or super().attention_head_size)


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


class XLM(Architecture):
    model_type = "xlm"
    blocks = "ffns"
    layers = Layers("q_lin", "k_lin", "v_lin", "out_lin", ("lin1", "lin2"))

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.summary_type == "first":
            self.pooling = Pooling.FIRST
        else:  # of rows, with their padding
            self.padding = Padding.EQUAL_LENGTHS

    def blocks_of(self, classifier: PreTrainedModel) -> list[nn.Module]:
        """Of modules that the backbone holds in lists side by side."""
        from torch import nn

        backbone: Any = classifier.base_model
        parts = zip(backbone.attentions, backbone.layer_norm1, backbone.ffns, backbone.layer_norm2, strict=True)
        return [nn.ModuleList(block) for block in parts]


class Flaubert(XLM):
    model_type = "flaubert"


class Funnel(Architecture):
    model_type = "funnel"
    blocks = "encoder.blocks"
    layers = Layers("q_head", "k_head", "v_head", "post_proj", ("linear_1", "linear_2"))
    pooling = Pooling.FIRST
    padding = Padding.EQUAL_LENGTHS  # neighbours are averaged, and the last ones left out
    first_token_type = 2

    @property
    def shortest_input(self) -> int:
        """One in which a token is left for each block beside the first token."""
        return int(2 ** (len(self.config.block_sizes) - 1)) + 1


class NomicBert(Architecture):
    model_type = "nomic_bert"
    blocks = "layers"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ("gate_proj", "up_proj", "down_proj"))
    pooling = Pooling.FIRST
    packs = True

    def classify(self, classifier: Any, states: torch.Tensor) -> torch.Tensor:
        pooler = classifier.base_model.pooler
        logits: torch.Tensor = classifier.classifier(classifier.dropout(pooler.activation(pooler.dense(states))))
        return logits


class JinaEmbeddingsV3(Architecture):
    model_type = "jina_embeddings_v3"
    blocks = "layers"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ("fc1", "fc2"))
    pooling = Pooling.FIRST
    packs = True


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
