"""One pass of the rows that are likeliest to fail, before anything is trained: what would fail in every run.

It takes the real weights, once, on the CPU: a configuration says less than the tensors that come with it, and what is
wrong with a row ends a CUDA device's process without saying which. It belongs to a study that is about to train;
`plan`, `audit` and a study that has all its results do without weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from tuneoff.core.errors import UserError
from tuneoff.data.parts import part_names, split_path
from tuneoff.data.prepare import rules_of
from tuneoff.data.prepared import load_tokens
from tuneoff.measure.memory import is_out_of_memory
from tuneoff.models.architecture import Padding
from tuneoff.models.guard import told_in_one_line
from tuneoff.models.load import LoadedModel, load_classifier, load_config, outline
from tuneoff.models.quantised import stored_quantisation
from tuneoff.models.quiet import transformers_quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuneoff.data.tokens import Tokens
    from tuneoff.spec import StudySpec
    from tuneoff.study.prepare import PreparedStudy
    from tuneoff.training.engines.base import Engine

FLOAT32_BYTES = 4


@dataclass(frozen=True)
class _Row:
    """A row of the prepared data, or one of the windows that it is read in."""

    path: str
    """Of the split, see `split_path`."""
    tokens: Tokens
    """Of the split, by sequence."""
    number: int
    """Of the sequence."""
    text: int
    """Which text it is of."""

    @property
    def ids(self) -> NDArray[np.int32]:
        return self.tokens.ids[self.tokens.offsets[self.number] : self.tokens.offsets[self.number + 1]]

    def cut(self, length: int) -> Tokens:
        """The same with its first tokens and its last one alone, which may end the text."""
        from tuneoff.data.tokens import Tokens

        whole = self.tokens.take(np.array([self.number]))
        ids = np.concatenate([whole.ids[: length - 1], whole.ids[-1:]])
        starts = None if whole.second_starts is None else np.minimum(whole.second_starts, length)
        return Tokens(ids, np.array([0, length]), whole.labels, starts)


def rehearse(spec: StudySpec, study: PreparedStudy, say: Callable[[str], None]) -> None:
    """Has the model compute the shortest, the longest and other extreme rows of all splits, without gradients.

    Args:
        spec: the study.
        study: its data, tokenised, and its model.
        say: told where memory does not hold the model.

    Raises:
        UserError: where the model cannot compute one of them, gives no finite numbers, or has weights that are none.
    """
    import torch

    from tuneoff.spec import TrainingSpec
    from tuneoff.training.engines.padded import PaddedEngine

    prepared = study.prepared
    config = load_config(study.model_folder, len(prepared.label_names), prepared.pad_token_id)
    if stored_quantisation(config) is not None:
        return  # to compute with such weights takes bitsandbytes, which would initialise CUDA in this process
    with transformers_quiet(), torch.no_grad():
        needed = outline(config).parameters * FLOAT32_BYTES
        try:
            if needed > psutil.virtual_memory().available:
                raise MemoryError
            loaded = load_classifier(study.model_folder, config, 0, torch.device("cpu"))
            _check_weights(spec.model.id, loaded)
            loaded.model.requires_grad_(False)
            engine = PaddedEngine(loaded.model, loaded, TrainingSpec(), torch.device("cpu"), 1)
            _check_rows(spec, study.stored_in, loaded, engine, prepared.pad_token_id)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            say(
                f"The longest and the shortest texts are not tried beforehand: the model takes {needed / 1e9:.1f} "
                "GB of main memory for that, and less is free"
            )


def _check_weights(model_id: str, loaded: LoadedModel) -> None:
    for name, weight in loaded.model.named_parameters():
        if weight.numel() and not all(extreme.isfinite() for extreme in weight.aminmax()):
            raise UserError(
                f"model.id: the weights of '{model_id}' are damaged: {name} holds numbers that are not finite; take "
                "another copy of the model"
            )


def _check_rows(spec: StudySpec, folder: Path, loaded: LoadedModel, engine: Engine, pad_token_id: int) -> None:
    from tuneoff.data.tokens import joined

    rows = _extreme_rows(spec, folder, loaded)
    _check_embeddings(spec.model.id, loaded, rows, folder, pad_token_id)
    alone = [row.tokens.take(np.array([row.number])) for row in rows]
    failures = [_failure(engine, tokens) for tokens in alone]
    failed = [(row, failure) for row, failure in zip(rows, failures, strict=True) if failure is not None]
    if failed:
        row, said = max(failed, key=lambda found: len(found[0].ids))
        computed = max(
            [len(row.ids) for row, failure in zip(rows, failures, strict=True) if failure is None], default=0
        )
        wrong = (
            f"the model '{spec.model.id}' cannot compute {_located(row, folder)}, of {len(row.ids):,} tokens: {said}"
        )
        raise UserError(_with_advice(wrong, loaded, engine, row, computed))
    together = joined(alone)
    if (failure := _failure(engine, together)) is not None:
        raise UserError(
            f"model.id: '{spec.model.id}' computes texts one by one, and not together, with padding ({failure}); "
            "choose another model, or set pad_token_id in its config.json to a token that it has"
        )


def _extreme_rows(spec: StudySpec, folder: Path, loaded: LoadedModel) -> list[_Row]:
    """The shortest row, the longest, that of the highest token; and those with the fewest and the most ends of text."""
    splits = {
        (split_path(part, name), rule): tokens
        for rule in rules_of(spec)
        for part in part_names(spec.data)
        for name, tokens in load_tokens(folder, rule, part).items()
    }
    wanted: dict[str, tuple[float, _Row]] = {}

    def offer(kind: str, path: str, tokens: Tokens, number: int, value: float) -> None:
        if kind not in wanted or value > wanted[kind][0]:
            wanted[kind] = value, _Row(path, tokens.by_sequence, number, tokens.text_of(number))

    for (path, _), tokens in splits.items():
        if not len(tokens):
            continue
        lengths, offsets = tokens.by_sequence.lengths, tokens.by_sequence.offsets
        shortest, longest, place = int(lengths.argmin()), int(lengths.argmax()), int(tokens.ids.argmax())
        offer("shortest", path, tokens, shortest, -lengths[shortest])
        offer("longest", path, tokens, longest, lengths[longest])
        with_highest = int(np.searchsorted(offsets, place, side="right")) - 1
        offer("highest", path, tokens, with_highest, tokens.ids[place])
        if loaded.architecture.padding is Padding.EQUAL_ENDS:
            ends = np.add.reduceat(tokens.ids == loaded.architecture.config.eos_token_id, offsets[:-1])
            offer("fewest ends", path, tokens, int(ends.argmin()), -float(ends.min()))
            offer("most ends", path, tokens, int(ends.argmax()), float(ends.max()))
    return [row for _, row in wanted.values()]


def _check_embeddings(model_id: str, loaded: LoadedModel, rows: list[_Row], folder: Path, pad_token_id: int) -> None:
    """Tokenizers may have tokens that a model has not, such as those of images; what texts do not use does no harm."""
    from torch import nn

    embeddings = loaded.model.get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        return  # what it holds shows when it computes
    for row in rows:
        highest = int(row.ids.max())
        if highest >= embeddings.num_embeddings:
            raise UserError(
                f"model.id: {_located(row, folder)} has token {highest:,} of the tokenizer of '{model_id}', and the "
                f"model has embeddings for {embeddings.num_embeddings:,} alone; a token was added to it without "
                "model.resize_token_embeddings"
            )
    if pad_token_id >= embeddings.num_embeddings:
        raise UserError(
            f"model.id: the token {pad_token_id:,}, with which '{model_id}' pads texts, has no embedding: the model "
            f"has {embeddings.num_embeddings:,}; it was added without model.resize_token_embeddings"
        )


def _failure(engine: Engine, tokens: Tokens) -> str | None:
    """What goes wrong where these rows are computed together, if anything does."""
    try:
        with told_in_one_line("it fails"):
            logits = engine.classify(tokens, np.arange(len(tokens)))
    except UserError as error:
        return str(error)
    return None if np.isfinite(logits).all() else "what it gives are no finite numbers"


def _with_advice(wrong: str, loaded: LoadedModel, engine: Engine, row: _Row, computed: int) -> str:
    """What is wrong with a row, and what to do about it.

    Args:
        wrong: what is wrong.
        loaded: the model.
        engine: that computes with it.
        row: the longest that fails.
        computed: tokens of the longest row that does not; 0 where all do.
    """
    end = getattr(loaded.architecture.config, "eos_token_id", None)
    if loaded.architecture.padding is Padding.EQUAL_ENDS and not (row.ids == end).any():
        return (
            f"model.id: {wrong}; it needs its end-of-text token ({end}, eos_token_id of its config.json) in every "
            "text, and its tokenizer does not put it there"
        )
    if computed >= len(row.ids):
        return f"model.id: {wrong}; leave such rows out, or choose another model"
    works, fails = computed, len(row.ids)
    while fails - works > 1:
        middle = (works + fails) // 2
        if _failure(engine, row.cut(middle)) is None:
            works = middle
        else:
            fails = middle
    if works:
        return (
            f"data.max_length: {wrong}; {works:,} tokens are the most that it computes: set data.max_length = {works}"
        )
    return f"model.id: {wrong}; choose another model"


def _located(row: _Row, folder: Path) -> str:
    """Where the user finds a row."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / f"{row.path}.parquet", columns=["source_file", "source_row"])
    source = table.slice(row.text, 1).to_pylist()[0]
    return f"row {source['source_row']:,} of {source['source_file']} (split {row.path})"
