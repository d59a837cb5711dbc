"""Encoders with a decoder, whose classifiers read the decoder at a text's last end-of-text token.

They refuse a batch whose texts have different numbers of these tokens, such as where a text holds one literally.
"""

from __future__ import annotations

from typing import Any

from tuneoff.models.architecture import Architecture, Layers, Padding


class Bart(Architecture):
    model_type = "bart"
    blocks = "decoder.layers"
    layers = Layers("q_proj", "k_proj", "v_proj", "out_proj", ("fc1", "fc2"))
    padding = Padding.EQUAL_ENDS


class MBart(Bart):
    model_type = "mbart"


class Mvp(Bart):
    model_type = "mvp"


class T5(Architecture):
    model_type = "t5"
    blocks = "decoder.block"
    padding = Padding.EQUAL_ENDS

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        inner = ("wi_0", "wi_1") if config.is_gated_act else ("wi",)
        self.layers = Layers("q", "k", "v", "o", (*inner, "wo"))  # of the decoder's look at the text too


class MT5(T5):
    model_type = "mt5"
