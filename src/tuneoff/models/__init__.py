"""Pretrained models: loading, layer names, parameter counts."""
