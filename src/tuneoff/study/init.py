"""A first study file for data that nobody has described."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unicodedata import combining, normalize

from tuneoff.core.errors import UserError
from tuneoff.core.files import expanded, write_text
from tuneoff.core.texts import in_line
from tuneoff.data.conventions import SPLIT_WORDS, SPLITS
from tuneoff.data.describe import Understanding, understand
from tuneoff.data.formats.detect import toml, unusual
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.guess import SINGLE
from tuneoff.data.sources.files import FilesData
from tuneoff.models.load import PACKAGE_PREFIX, load_config, load_tokenizer, longest_input, resolve_model
from tuneoff.spec import load_study

LETTERS = re.compile(r"[^\W\d_]+")
NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")
COMMENT_COLUMN = 34
BATCH, EPOCHS, MOST_EPOCHS, FEWEST_STEPS = 16, 3, 10, 100
"""What a study is told; of less than about 530 examples more epochs than usual make as many steps."""
LONGER = "reads longer texts whole; left out, they are cut at max_length"
TASKS_IN_WORDS = {
    "multi_label": "an example has any number of labels",
    "regression": "labels are numbers; leave this out for classes",
}


def init_study(
    data: Sequence[str],
    model: str,
    out: Path | None,
    say: Callable[[str], None],
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
) -> Path:
    """Looks at data, says what it understood, and writes a study file that compares four methods on it.

    Args:
        data: paths, patterns or folders; several are told apart by `train`, `validation` and `test` in their names.
        model: as `[model] id`.
        out: the file; named after the data when None.
        say: is called with each line for people.
        text: the column of texts; found out when None.
        text_pair: the column of second texts; found out when None, unless `text` is given.
        label: the column of classes; found out when None.

    Returns:
        The file that was written.

    Raises:
        UserError: where the data cannot be read or understood, a local model cannot be used, or the file exists.
    """
    if not model:
        raise UserError("--model is empty; name a Hub id, a local folder, or package:NAME")
    if not all(data):
        raise UserError("DATA is empty; name a file, a pattern, or a folder that `datasets` saved")
    named = _told_apart(data)
    name = _study_name(named["train"])
    path = out or Path(f"{name}.toml")
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} exists already; name another file with --out")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    folder = _model_folder(model)
    columns = {"text": text, "text_pair": text_pair, "label": label}
    found = understand(FilesData.model_validate({"source": "files", **named, **columns}), say)
    most = None if folder is None else _longest_input(folder)
    cut = most is not None and most < found.spec.max_length
    if cut:
        found = replace(found, spec=found.spec.model_copy(update={"max_length": most}))
    written = _study_file(name, model, data, found)
    if any("\ud800" <= character <= "\udfff" for character in written):
        raise UserError(f"{_plain(' '.join(data))}: a name that is not UTF-8 cannot stand in a study file; rename it")
    with TemporaryDirectory() as temporary:
        draft = Path(temporary) / "study.toml"
        draft.write_text(written, encoding="utf-8")
        load_study(draft)
    for line in found.lines():
        say(line)
    if cut:
        say(f"model       takes at most {most} tokens, so longer texts are cut there")
    if most is None:
        say("model       is not on this machine yet; `tuneoff plan` checks that it takes max_length tokens")
    write_text(path, written)
    return path


def _told_apart(data: Sequence[str]) -> dict[str, str]:
    """Which of several paths is train, validation and test, by their names; one alone is train."""
    named: dict[str, str] = {}
    for path in data:
        split = "train" if len(data) == 1 else _split_in(path)
        if split is None and "train" not in map(_split_in, data):
            split = "train"
        if split is None:
            raise UserError(
                f"{path}: its name has none of the words train, validation and test, so its use is not clear"
            )
        if split in named:
            raise UserError(
                f"'{named[split]}' and '{path}' would both be {split}; give several files of one split as a pattern "
                "in quotes"
            )
        named[split] = path
    return {split: named[split] for split in SPLITS if split in named}


def _split_in(path: str) -> str | None:
    """The split that the last part of a path speaks of, or else the folder before it."""
    for part in list(reversed(Path(path).parts))[:2]:
        words = [SPLIT_WORDS[word] for word in LETTERS.findall(part.lower()) if word in SPLIT_WORDS]
        if words:
            return SPLITS[words[0]]
    return None


def _model_folder(model: str) -> Path | None:
    """The folder of a model; None for one of the Hub that is not on this machine yet."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if model.startswith(PACKAGE_PREFIX) or expanded(model).exists():
        return resolve_model(model)
    try:
        found = [try_to_load_from_cache(model, name) for name in ("config.json", "tokenizer_config.json")]
    except HFValidationError:
        return resolve_model(model)  # says what is wrong with it
    return Path(found[0]).parent if isinstance(found[0], str) and isinstance(found[1], str) else None


def _longest_input(folder: Path) -> int:
    """The most tokens that a model takes, special tokens included."""
    tokenizer = load_tokenizer(folder)
    return longest_input(load_config(folder, 2, tokenizer.pad_token_id), tokenizer)


def _study_name(train: str) -> str:
    """The name of a file or its folder, without words for splits, as far as a study may be called that."""
    for part in reversed(expanded(train).absolute().parts):
        stem = part.split(".")[0] if part.strip(".") else ""
        plain = "".join(letter for letter in normalize("NFKD", stem.replace("ß", "ss")) if not combining(letter))
        words = [word for word in re.split(r"[_\W]+", NOT_IN_A_NAME.sub("-", plain)) if word.lower() not in SPLIT_WORDS]
        name = "-".join(word for word in words if word)
        if name:
            return name
    return "study"


def _study_file(name: str, model: str, data: Sequence[str], found: Understanding) -> str:
    spec, guess = found.spec, found.guess
    extra = "" if found.sizes.get("test") else "; a fifth of the rows becomes the test split"
    lines = [
        f"# Written by `tuneoff init` for {_plain(' '.join(data))}; docs/study-file.md explains every field.",
        "# `tuneoff plan` shows what it would train, `tuneoff run` trains it.",
        _line("name", name, "names the folder of results, studies-out/NAME"),
        _line("seeds", 3, "trains each arm three times; fewer cannot show what is noise"),
        "",
        "[model]",
        _line("id", model, "a Hub id, a local folder, or package:NAME"),
        "",
        f"[data]{' ' * 28}# {_plain(found.splits)}",
        _line("source", "files", "cells (CSV, TSV), JSON, Parquet, fastText, or what `datasets` saved"),
        _line("train", spec.train, f"paths start where tuneoff is run{extra}"),
    ]
    for option, comment in (
        ("validation", "a tenth of train when left out"),
        ("test", "is read once, at the end of each run"),
    ):
        path = getattr(spec, option)
        lines += [_line(option, path, comment)] if path is not None else []
    if spec.split is not None:
        lines.append(_line("split", spec.split, "the column that says train, validation or test"))
    lines += _columns(found)
    empty, unlabelled = found.dropped
    if empty:
        lines.append(_line("drop_empty", True, f"leaves out {_rows(empty)} without a text or label"))
    if unlabelled:
        names = list(spec.drop_labels)
        lines.append(_line("drop_labels", names, f"leaves out {_rows(unlabelled)}, since these labels mean none"))
    lines += [
        _line("max_length", spec.max_length, "tokens that are read of a text at once; shorter trains faster"),
        *([f"# {_line('long_texts', 'windows', LONGER)}"] if found.cuts and spec.text_pair is None else []),
        _line("deduplicate", spec.deduplicate, found.repeats),
        f"# {_line('train_size', _fewer(sum(found.sizes.values())), 'examples to train on; all when left out')}",
    ]
    for option, columns, comment in (
        ("group", guess.groups, "keeps rows with the same value in one split"),
        ("breakdown", guess.breakdowns, "accuracy for each value"),
    ):
        if columns:
            others = f"; or {in_line(columns[1:])}" if columns[1:] else ""
            lines.append(f"# {_line(option, columns[0], comment + others)}")
    lines += _format(spec.format)
    lines += [
        "",
        f"[training]{' ' * 24}# the same for every arm",
        _line("epochs", _epochs(found.study_sizes["train"]), "times that all training examples are seen"),
        _line("batch_size", BATCH, "examples a step"),
        *_class_weights(found),
        f"# {_line('select', 'best', 'tests the best epoch on validation, in place of the last')}",
    ]
    lines += [
        "",
        f"[tuning]{' ' * 26}# each arm's learning rate is found on the validation split",
        _line("trials", 3, "rates tried for each arm, then beyond an edge and beside the best"),
    ]
    comments = {
        "full": "trains all weights",
        "lora": "trains small updates beside the attention's weights",
        "qlora": "the same, weights in 4 bits: least memory on a GPU; without one it only takes longer",
        "ia3": "trains vectors that scale what layers give: the fewest parameters",
    }
    for method, comment in comments.items():
        lines += ["", "[[arms]]", _line("method", method, comment)]
    return "\n".join(lines) + "\n"


def _class_weights(found: Understanding) -> list[str]:
    """The line that weights classes, where labels are classes."""
    if found.spec.task != SINGLE:
        return []
    return [f"# {_line('class_weights', 'balanced', 'gives rare classes the same say as common ones')}"]


def _columns(found: Understanding) -> list[str]:
    """The lines of texts and label, with what else they could be."""
    guess = found.guess
    others = f"; could also be {in_line(guess.other_texts)}" if guess.other_texts else ""
    lines = [_line("text", guess.text, found.text_lengths + others)]
    if guess.text_pair is not None:
        lines.append(_line("text_pair", guess.text_pair, "second texts; leave this out for single texts"))
    elif guess.other_texts:
        alternative = _line("text_pair", guess.other_texts[0], "second texts, where an example is two")
        lines.append(f"# {alternative}")
    others = f"; could also be {in_line(guess.other_labels)}" if guess.other_labels else ""
    if guess.several:
        others += f"; one of several columns of 0 and 1: {in_line(guess.several)}"
    label = list(guess.label_columns) or guess.label
    lines.append(_line("label", label, found.labels + others))
    if found.spec.task != SINGLE:
        lines.append(_line("task", found.spec.task, TASKS_IN_WORDS[found.spec.task]))
    if found.spec.label_separator is not None:
        lines.append(_line("label_separator", found.spec.label_separator, "stands between the labels of an example"))
    return lines


def _format(spec: FormatSpec) -> list[str]:
    """`[data.format]`, where files are not as usual."""
    comments = {
        "kind": "what the files are",
        "encoding": "a guess: look at texts that are not English",
        "separator": "what parts cells",
        "quoting": "a quote is a character like any other",
        "header": "the first line is an example",
        "columns": "names, in order",
    }
    lines = [_line(option, value, comments[option]) for option, value in unusual(spec).items()]
    return ["", f"[data.format]{' ' * 21}# how the files are written", *lines] if lines else []


def _epochs(examples: int) -> int:
    """As often as usual, and more often where that makes few steps: after some dozens much is not learned yet."""
    return min(MOST_EPOCHS, max(EPOCHS, -(-FEWEST_STEPS * BATCH // examples)))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _fewer(rows: int) -> int:
    """About a third of the rows, as people would write it, at most a thousand."""
    third = max(2, rows // 3)
    unit = 10 ** max(0, len(str(third)) - 1)
    return min(1000, third // unit * unit)


def _line(key: str, value: str | bool | int | list[str], comment: str) -> str:
    return f"{f'{key} = {toml(value)}'.ljust(COMMENT_COLUMN - 1)} # {_plain(comment)}"


def _plain(text: str) -> str:
    """A text as a comment may hold it."""
    return "".join(character if character.isprintable() else "?" for character in text)
