"""How the weights of a backbone can be stored, one file each (see `tuneoff.spec.quantization`)."""
