"""What a press of TAB completes.

Nothing heavy is imported, but for the names of settings; so the names that options take are written here once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

STUDY_FILE = "study.toml"
FORMATS = ("html", "md", "pdf", "notebook", "csv", "latex")
COSTS = ("memory", "time", "parameters", "checkpoint", "cost", "latency")
EXECUTORS = ("local", "ray")
EXPORTS = ("model", "merged", "onnx")
REFITS = ("train+validation", "all")


def studies(incomplete: str) -> list[str]:
    """The shipped studies, TOML files, and folders on the way to some."""
    shipped = Path(__file__).parents[1].joinpath("studies").glob("*.toml")
    names = sorted(path.stem for path in shipped if path.stem.startswith(incomplete))
    return [*names, *(name for name, path in _paths(incomplete) if path.is_dir() or path.suffix == ".toml")]


def study_folders(incomplete: str) -> list[str]:
    """Folders that hold a study, and those on the way to some."""
    return [name for name, path in _paths(incomplete) if path.is_dir()]


def formats(incomplete: str) -> list[str]:
    """Names of formats, also behind others and a comma."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{name}" for name in FORMATS if name.startswith(last) and name not in taken]


def exports(incomplete: str) -> list[str]:
    """What a model is exported as."""
    return [name for name in EXPORTS if name.startswith(incomplete)]


def refits(incomplete: str) -> list[str]:
    """What a refit is trained on."""
    return [name for name in REFITS if name.startswith(incomplete)]


def costs(incomplete: str) -> list[str]:
    """What an arm may be preferred for."""
    return [name for name in COSTS if name.startswith(incomplete)]


def executors(incomplete: str) -> list[str]:
    """What may carry out runs."""
    return [name for name in EXECUTORS if name.startswith(incomplete)]


def methods(incomplete: str) -> list[str]:
    """The names of the methods."""
    from tuneoff.spec.arms import METHODS

    return [name for name in METHODS.classes() if name.startswith(incomplete)]


def settings(incomplete: str) -> list[str]:
    """The fields of a study file, those of each method's arm included, each with an equals sign."""
    from tuneoff.spec import StudySpec
    from tuneoff.spec.arms import METHODS

    tables = {name: field.annotation for name, field in StudySpec.model_fields.items()}
    fields: list[str] = []
    for name, kind in tables.items():
        if name == "data":
            fields += [f"data.{field}" for field in _data_fields()]
        elif name != "arms":
            inside = getattr(kind, "model_fields", None)
            fields += [name] if inside is None else [f"{name}.{field}" for field in inside]
    for method, adapted in METHODS.classes().items():
        fields += [f"arms.{method}.{field}" for field in adapted.model_fields]
    return [f"{field}=" for field in dict.fromkeys(fields) if field.startswith(incomplete)]


def _data_fields() -> list[str]:
    from tuneoff.spec.data import DATA_SOURCES

    return list(dict.fromkeys(field for source in DATA_SOURCES.classes().values() for field in source.model_fields))


def _paths(incomplete: str) -> Iterator[tuple[str, Path]]:
    """Paths that begin so, as they are written; a folder that holds no study ends in a slash, to go on from."""
    folder, slash, last = incomplete.rpartition("/")
    place = Path(f"{folder}{slash}" or ".").expanduser()
    if not place.is_dir():
        return
    for path in sorted(place.iterdir()):
        if path.name.startswith(last) and (last.startswith(".") or not path.name.startswith(".")):
            goes_on = path.is_dir() and not (path / STUDY_FILE).is_file()
            yield f"{folder}{slash}{path.name}{'/' if goes_on else ''}", path
