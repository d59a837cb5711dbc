"""The optimiser: AdamW on float32 master weights, on every device."""
