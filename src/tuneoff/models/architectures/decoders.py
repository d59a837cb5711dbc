"""Decoders, whose classifiers read the last token that is not the pad token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuneoff.models.architecture import Architecture, Layers, Pooling

if TYPE_CHECKING:
    import torch


class Decoder(Architecture):
    """What decoders share. A token sees none that follow it, so that padding at the end of a text changes nothing."""

    blocks = "h"
    pooling = Pooling.LAST

    def classify(self, classifier: Any, states: torch.Tensor) -> torch.Tensor:
        """Their own `forward` finds the token to read by itself, in rows of a batch."""
        logits: torch.Tensor = classifier.score(states)
        return logits


class Llama(Decoder):
    model_type = "llama"
    blocks = "layers"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ("gate_proj", "up_proj", "down_proj"))
    packs = True


class Mistral(Llama):
    model_type = "mistral"


class Qwen2(Llama):
    model_type = "qwen2"


class Qwen3(Llama):
    model_type = "qwen3"


class Gemma(Llama):
    model_type = "gemma"


class Gemma2(Gemma):
    model_type = "gemma2"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.packs = self.config.attn_logit_softcapping is None  # packed attention limits no scores


class Gemma3(Gemma):
    model_type = "gemma3_text"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.packs = not getattr(self.config, "use_bidirectional_attention", False)  # not tried


class SmolLM3(Llama):
    model_type = "smollm3"


class Olmo2(Llama):
    model_type = "olmo2"


class Olmo(Llama):
    model_type = "olmo"


class Olmo3(Llama):
    model_type = "olmo3"


class StableLm(Llama):
    model_type = "stablelm"


class Ministral(Llama):
    model_type = "ministral"


class Ministral3(Llama):
    model_type = "ministral3"


class Exaone4(Llama):
    model_type = "exaone4"


class Arcee(Llama):
    model_type = "arcee"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ("up_proj", "down_proj"))


class Nemotron(Arcee):
    model_type = "nemotron"


class Qwen2Moe(Llama):
    model_type = "qwen2_moe"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        # Of its windows only the mask tells, which packed attention has none of.
        self.packs = "sliding_attention" not in (getattr(self.config, "layer_types", None) or ())


class Qwen3Moe(Llama):
    model_type = "qwen3_moe"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ())  # its experts are bare tensors


class Mixtral(Qwen3Moe):
    model_type = "mixtral"
    packs = False  # noise may choose its experts


class Glm(Llama):
    model_type = "glm"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ("gate_up_proj", "down_proj"))


class Glm4(Glm):
    model_type = "glm4"


class Starcoder2(Llama):
    model_type = "starcoder2"
    layers = Layers("q_proj", "k_proj", "v_proj", "o_proj", ("c_fc", "mlp.c_proj"))
    packs = False  # no modules drop its states


class BioGpt(Decoder):
    model_type = "biogpt"
    blocks = "layers"
    layers = Layers("q_proj", "k_proj", "v_proj", "out_proj", ("fc1", "fc2"))


class Mpt(Decoder):
    model_type = "mpt"
    blocks = "blocks"
    layers = Layers("Wqkv", "Wqkv", "Wqkv", "out_proj", ("up_proj", "down_proj"))

    @property
    def longest_input(self) -> int | None:
        """It makes distances for so many tokens."""
        return int(self.config.max_seq_len)


class Phi3(Llama):
    model_type = "phi3"
    layers = Layers("qkv_proj", "qkv_proj", "qkv_proj", "o_proj", ("gate_up_proj", "down_proj"))


class Phi(Llama):
    model_type = "phi"
    layers = Layers("q_proj", "k_proj", "v_proj", "self_attn.dense", ("fc1", "fc2"))


class GPT2(Decoder):
    model_type = "gpt2"
    layers = Layers("c_attn", "c_attn", "c_attn", "attn.c_proj", ("mlp.c_fc", "mlp.c_proj"))
    packs = True


class OpenAIGPT(GPT2):
    model_type = "openai-gpt"
    packs = False  # its attention is its own


class GPTBigCode(GPT2):
    model_type = "gpt_bigcode"


class GPTNeo(Decoder):
    model_type = "gpt_neo"
    layers = Layers("q_proj", "k_proj", "v_proj", "out_proj", ("c_fc", "c_proj"))


class GPTJ(Decoder):
    model_type = "gptj"
    layers = Layers("q_proj", "k_proj", "v_proj", "out_proj", ("fc_in", "fc_out"))


class GPTNeoX(Decoder):
    model_type = "gpt_neox"
    blocks = "layers"
    layers = Layers(
        "query_key_value", "query_key_value", "query_key_value", "attention.dense", ("dense_h_to_4h", "dense_4h_to_h")
    )
    packs = True


class Bloom(Decoder):
    model_type = "bloom"
    layers = Layers(
        "query_key_value",
        "query_key_value",
        "query_key_value",
        "self_attention.dense",
        ("dense_h_to_4h", "dense_4h_to_h"),
    )


class Falcon(Bloom):
    model_type = "falcon"


class OPT(Decoder):
    model_type = "opt"
    blocks = "decoder.layers"
    layers = Layers("q_proj", "k_proj", "v_proj", "out_proj", ("fc1", "fc2"))

    @property
    def output_width(self) -> int:
        """The smallest OPT but one projects its hidden states back to the width of its embeddings."""
        return int(self.config.word_embed_proj_dim)
