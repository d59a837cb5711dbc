"""Several devices: how weights lie on them, and how gradients come together."""
