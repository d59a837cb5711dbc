"""Using saved models: predicting, and answering requests."""
