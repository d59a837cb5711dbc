"""The training engine: batches, steps, optimiser, evaluation."""
