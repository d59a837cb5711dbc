"""Reading a study: a TOML file with what the command line overrides."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tuneoff.core.errors import UserError
from tuneoff.core.names import did_you_mean
from tuneoff.spec.analysis import AnalysisSpec
from tuneoff.spec.explain import arm_name, explain, in_words
from tuneoff.spec.schema import StudySpec

DEFAULT_STUDY = "quickstart"


def shipped_studies() -> dict[str, Path]:
    """The studies that come with tuneoff, by name."""
    folder = Path(str(resources.files("tuneoff") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_study(study: str | Path = DEFAULT_STUDY, overrides: Sequence[str] = ()) -> StudySpec:
    """Reads and validates a study.

    Args:
        study: a TOML file, or the name of a shipped study.
        overrides: `key=value` pairs such as `training.epochs=1` or `arms.lora.r=4` (arms by name or position);
            values are TOML, or plain text where they are no TOML.

    Returns:
        The validated study. Paths in it are as written: relative to the current directory.

    Raises:
        UserError: (a `ValueError`) one line that says what is wrong, where, and what would be right.
    """
    path = _study_path(study)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and others
        raise UserError(f"{path}: {_why_no_study(path, error)}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    for override in overrides:
        _override(table, override)
    try:
        return StudySpec.model_validate(table)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, table, StudySpec)}") from error


def ask_otherwise(analysis: AnalysisSpec, options: Mapping[str, str | None]) -> AnalysisSpec:
    """`[analysis]` with some fields replaced by options of the command line; None leaves a field as it is.

    Raises:
        UserError: one line that names the option that is wrong.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return AnalysisSpec.model_validate({**analysis.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise UserError(f"--{option} {first['input']}: {in_words(first)}") from error


def _study_path(study: str | Path) -> Path:
    shipped = shipped_studies()
    if str(study) in shipped:
        return shipped[str(study)]
    path = Path(study)
    if not str(study):
        raise UserError("STUDY is empty; name a study file, or leave it out for the quickstart")
    if path.is_file():
        return path
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a study file; give the TOML file inside it")
    raise UserError(
        f"there is no study file '{study}', and no shipped study of that name{did_you_mean(str(study), shipped)}"
    )


def _why_no_study(path: Path, error: Exception) -> str:
    reason = "not valid TOML: " + ("it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error))
    if path.suffix.lower() == ".toml":
        return reason
    return f"no study file ({reason}); if it is data, {shlex.join(['tuneoff', 'init', str(path)])} makes one of it"


def _override(table: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UserError(f"--set {override}: write it as key=value, for example training.epochs=1")
    found: Any = table
    for part in parts[:-1]:
        found = _step_into(found, part, override)
    if isinstance(found, list):
        raise UserError(f"--set {override}: name a field of one arm, for example arms.lora.r=4")
    found[parts[-1]] = toml_or_text(text)


def toml_or_text(text: str) -> Any:
    """A value of the command line: TOML, or plain text where it is no TOML."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _step_into(found: Any, part: str, override: str) -> Any:
    if isinstance(found, dict):
        found = found.setdefault(part, {})
    elif isinstance(found, list):
        names = [arm_name(arm, number) for number, arm in enumerate(found)]
        if part in names:
            found = found[names.index(part)]
        elif part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise UserError(f"--set {override}: there is no arm '{part}'{did_you_mean(part, names)}")
    if not isinstance(found, dict | list):
        raise UserError(f"--set {override}: '{part}' has no fields")
    return found
