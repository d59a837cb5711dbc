"""Executors: where the runs of a study are carried out (see `base`)."""
