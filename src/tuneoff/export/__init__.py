"""Handing over a trained model: exported, checked, described."""
