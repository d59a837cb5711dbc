"""The fine-tuning methods, one file each (see `tuneoff.spec.arms`)."""
