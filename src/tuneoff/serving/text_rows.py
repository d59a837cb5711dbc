"""Where texts to classify come from: arguments, lines that are piped in, and files as `[data]` reads them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import ValidationError

from tuneoff.core.errors import UserError
from tuneoff.core.texts import in_line, printable
from tuneoff.data.columns import check_column, find_named
from tuneoff.data.conventions import PAIRS, TEXTS
from tuneoff.data.formats.detect import detect_format
from tuneoff.data.formats.kinds import kind_of
from tuneoff.data.formats.lines import batched, explaining, read_lines
from tuneoff.data.formats.raw import opened_bytes
from tuneoff.data.formats.spec import FormatSpec
from tuneoff.data.headers import no_header
from tuneoff.data.source_table import SourceTable
from tuneoff.data.sources.files import FilesData, existing
from tuneoff.serving.first_line import SHOWN, asks_for_header, first_cells, has_label, has_name, passed_over
from tuneoff.spec.explain import in_words
from tuneoff.spec.load import toml_or_text

if TYPE_CHECKING:
    import pyarrow as pa

    from tuneoff.records.saved_model import TextRules

TEXT = "text"
PIECE = 1 << 20


@dataclass(frozen=True)
class TextRows:
    """Rows that hold texts.

    Attributes:
        table: reads them.
        text: the column of texts.
        text_pair: the column of second texts; None where a row is one text.
        fingerprint: a JSON value that changes when the content does.
        about: how many rows there are, roughly; None where only reading them all would tell.
        waits: whether the next rows may take a while to come, as they do from another program.
        note: what the user should know of how they are read.
    """

    table: SourceTable
    text: str
    text_pair: str | None
    fingerprint: Any = None
    about: int | None = None
    waits: bool = False
    note: str | None = None


def given_texts(texts: Sequence[str]) -> TextRows:
    """Texts as they are given."""

    def tables() -> Iterator[pa.Table]:
        import pyarrow as pa

        yield pa.table({TEXT: pa.array(texts, pa.string())})

    return TextRows(SourceTable(None, "the command line", (TEXT,), tables), TEXT, None, about=len(texts))


def piped_lines(stream: TextIO) -> TextRows:
    """A text a line, from another program; blank lines are rows without text."""

    def tables() -> Iterator[pa.Table]:
        import pyarrow as pa

        lines = io.TextIOWrapper(stream.buffer, encoding="utf-8-sig")
        try:
            for batch in batched((line.rstrip("\r\n"), len(line)) for line in lines):
                yield pa.table({TEXT: pa.array(batch, pa.string())})
        except UnicodeDecodeError as error:
            raise UserError(f"standard input is not UTF-8 ({error.reason}); convert it with iconv") from error
        finally:
            lines.detach()

    return TextRows(SourceTable(None, "standard input", (TEXT,), tables), TEXT, None, waits=True)


def rows_of_file(
    pattern: str,
    rules: Sequence[TextRules],
    text: str | None,
    text_pair: str | None,
    written: Sequence[str] = (),
) -> TextRows:
    """The rows of a file, of several of a pattern, or of a folder that `datasets` saved.

    How files are written is found out, as `tuneoff init` does; a file of plain lines is a text a line.

    Args:
        pattern: a path or a glob pattern.
        rules: of the models, whose study names the columns that are used where they are there.
        text: the column of texts; that of the study when None, or else the one that is usually called so.
        text_pair: likewise of second texts.
        written: `key=value` settings of `[data.format]`, in place of what is found out.

    Raises:
        UserError: where there is no such file, it cannot be read, or its columns hold no texts.
    """
    paths = existing(pattern)
    for path in paths:
        if not path.is_file() and not path.is_dir():
            raise UserError(f"{path}: is not a file; what another program prints is read from a pipe, a text a line")
    spec, given = _format(paths, written)
    first = first_cells(paths, spec) if "header" not in given else []
    known = [name for name in (text, text_pair, *(rule.text for rule in rules)) if name is not None]
    if has_label(first, [name for rule in rules for name in rule.label_names]) and not has_name(first, known):
        spec = spec.model_copy(update={"header": False})
    data = FilesData.model_validate({"source": "files", "train": pattern, "format": spec.model_dump()})
    lines = SourceTable(None, pattern, (TEXT,), lambda: _plain_lines(paths, spec.encoding))
    if all(path.is_dir() or kind_of(path, spec) is not None for path in paths):
        try:
            found = _in_columns(_one_table(data.open_tables(), pattern), rules, text, text_pair)
        except UserError:
            if text is not None or text_pair is not None or not all(map(_is_called_text, paths)):
                raise
            found = TextRows(lines, TEXT, None)  # sentences that happen to have as many commas each
    else:
        found = _in_columns(lines, rules, text, text_pair)
    of_lines = found.table is lines
    return replace(
        found,
        fingerprint=[data.fingerprint(), *sorted(written)],
        about=_about_rows(paths, spec),
        note=None if of_lines else passed_over(first, spec, known),
    )


def _format(paths: Sequence[Path], written: Sequence[str]) -> tuple[FormatSpec, set[str]]:
    """How files are written: what is given, and what else is found out; and which of it is given."""
    given: dict[str, Any] = {}
    for setting in written:
        key, equals, text = setting.partition("=")
        if not (equals and key in FormatSpec.model_fields):
            raise UserError(
                f"--read {setting}: write KEY=VALUE, with one of {', '.join(FormatSpec.model_fields)} as KEY"
            )
        value = toml_or_text(text)
        given[key] = value.split(",") if key == "columns" and isinstance(value, str) else value
    try:
        asked = FormatSpec.model_validate(given)
        if "kind" in given:
            return asked, set(given)
        found = detect_format(paths, asked.encoding if "encoding" in given else None)
        return FormatSpec.model_validate({**found.model_dump(), **given}), set(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"--read {first['loc'][0]}" if first["loc"] else "--read"
        raise UserError(f"{where}: {in_words(first)}") from error


def _is_called_text(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(".txt")


def _one_table(tables: Sequence[SourceTable], pattern: str) -> SourceTable:
    """The splits of a folder one after the other; a file is one."""
    first = tables[0]
    if len(tables) == 1:
        return first
    if any(table.columns != first.columns for table in tables):
        raise UserError(f"{pattern}: its splits have different columns; name one split's files")

    def chained() -> Iterator[pa.Table]:
        return itertools.chain.from_iterable(table.tables() for table in tables)

    return SourceTable(None, pattern, first.columns, chained, first.class_names)


def _in_columns(table: SourceTable, rules: Sequence[TextRules], text: str | None, text_pair: str | None) -> TextRows:
    check_column(table, "--text", text)
    check_column(table, "--text-pair", text_pair)
    first = rules[0]
    if any((other.text_pair is None) != (first.text_pair is None) for other in rules):
        raise UserError("some of the models classify texts and others pairs of texts; ask them one after the other")
    if text is None:
        text, usual_pair = _usual(table, first, pair=text_pair)
        text_pair = text_pair or usual_pair
    elif text_pair is None and first.text_pair in table.columns:
        text_pair = first.text_pair
    if text is None:
        raise UserError(
            f"{table.where}: none of its columns ({in_line(table.columns)}) is known to hold the texts; name it with "
            f"--text{_of_header(table)}"
        )
    if first.text is not None and first.text_pair is None and text_pair is not None:
        raise UserError(f"--text-pair {text_pair}: the model classifies single texts, not pairs of them")
    if first.text_pair is not None and text_pair is None:
        raise UserError(f"{table.where}: the model classifies pairs of texts; name the second one with --text-pair")
    for name in (text, text_pair):
        if name is not None and table.columns.count(name) > 1:
            raise UserError(f"{table.where}: there are {table.columns.count(name)} columns called '{name}'; rename one")
    if text == text_pair:
        raise UserError(f"{table.where}: the column '{text}' cannot be both --text and --text-pair")
    return TextRows(table, text, text_pair)


def _of_header(table: SourceTable) -> str:
    """The end of a message about columns that nothing knows."""
    if table.header:
        return no_header(table.columns) or asks_for_header(table.columns)
    first = next((batch for batch in table.tables() if len(batch)), None)
    if first is None:
        return ""
    cells = [f"{name} {printable(str(first[name][0]), SHOWN)!r}" for name in table.columns]
    return f" (the first row has {in_line(cells)})"


def _usual(table: SourceTable, rules: TextRules, pair: str | None) -> tuple[str | None, str | None]:
    """The study's columns where they are there, else those with a usual name, else the only one."""
    if rules.text in table.columns and (rules.text_pair is None or rules.text_pair in table.columns):
        return rules.text, rules.text_pair
    if pair is None and (rules.text is None or rules.text_pair is not None):
        for names in PAIRS:
            one, other = (find_named(table.columns, name) for name in names)
            if one is not None and other is not None:
                return one, other
    known = [found for name in TEXTS if (found := find_named(table.columns, name)) is not None]
    only = table.columns if len(table.columns) == 1 else ()
    return next(iter((*known, *only)), None), None


def _plain_lines(paths: Sequence[Path], encoding: str) -> Iterator[pa.Table]:
    import pyarrow as pa

    for path in paths:
        lines = (line.rstrip("\r\n") for line in read_lines(path, encoding))
        for batch in batched((line, len(line)) for line in lines):
            yield pa.table({TEXT: pa.array(batch, pa.string())})


def _about_rows(paths: Sequence[Path], spec: FormatSpec) -> int | None:
    """Rows of Parquet, and lines of other files; None of folders."""
    import pyarrow.parquet as pq

    total = 0
    for path in paths:
        if not path.is_file():
            return None
        with explaining(path):
            if kind_of(path, spec) == "parquet":
                total += pq.read_metadata(path).num_rows
                continue
            with opened_bytes(path) as binary:
                while piece := binary.read(PIECE):
                    total += piece.count(b"\n")
    return total
