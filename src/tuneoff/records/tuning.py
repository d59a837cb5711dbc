"""What tuning tried, chose and spent."""

from __future__ import annotations

from typing import Literal

from tuneoff.records.record import Record


class TrialSummary(Record):
    """A learning rate that was tried, over its runs; null is what a run that did not end did not get to."""

    learning_rate: float
    """that was tried"""
    validation_score: float | None
    """mean of the study's objective"""
    validation_accuracy: float | None
    """mean"""
    validation_loss: float | None
    """mean, in nats"""
    score: float | None
    """by which the lowest is chosen"""
    steps: int
    """optimiser steps of a trial"""
    learned: bool
    """whether its training loss has left that of guessing"""
    too_high: bool
    """whether it has learned nothing because the rate was too high"""


class PassedOver(Record):
    """A rate that was better on validation, by the study's objective, than the one chosen."""

    learning_rate: float
    """that was not chosen"""
    validation_score: float
    """its own"""
    because: Literal["loss", "neighbours"]
    """of what it was not chosen"""


class ArmTuning(Record):
    """The search of one arm on one part of the data."""

    arm: str
    """its name"""
    part: str
    """of the data, in words; empty where there is only the whole"""
    chosen: float | None
    """the learning rate; null where no trial came to its end"""
    at_edge: bool
    """whether it is the lowest or highest tried, so that one beyond may be better"""
    passed_over: PassedOver | None
    """null where no other rate was better on validation"""
    train_seconds: float
    """of its trials"""
    trials: tuple[TrialSummary, ...]
    """in the order of rates"""


class TuningSummary(Record):
    """What tuning tried, chose and spent."""

    strategy: Literal["grid", "optuna"]
    """how it looked"""
    seeds: tuple[int, ...]
    """that trials were run with"""
    runs: int
    """how many"""
    train_seconds: float
    """of all trials, which are no part of the arms' own cost"""
    wall_seconds: float
    """likewise"""
    few_validation: str | None
    """a sentence where validation has too few examples to choose finely"""
    untuned: tuple[str, ...]
    """arms whose rate the study names"""
    arms: tuple[ArmTuning, ...]
    """by part, then by arm"""
