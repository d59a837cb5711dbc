"""Carrying out a study: prepare, plan, execute, store."""
