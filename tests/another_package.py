"""A package made for tests that offers something through entry points: a module and its metadata on the path."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def guide(kind: str, language: str = "python", number: int = 0) -> str:
    """A piece of a guide's code, to the letter."""
    blocks: list[str] = re.findall(
        rf"```{language}\n(.*?)```", (DOCS / f"adding-{kind}.md").read_text(encoding="utf-8"), re.DOTALL
    )
    return blocks[number]


def point_of(kind: str) -> tuple[str, str]:
    """The group and the entry point that a guide writes into a package's `pyproject.toml`, of the package made here."""
    ((group, points),) = tomllib.loads(guide(kind, "toml"))["project"]["entry-points"].items()
    ((name, target),) = points.items()
    return group, f"{name} = {target.replace('your_package', 'tuneoff_more')}"


def install_package(folder: Path, code: str, group: str, point: str) -> dict[str, str]:
    """Installs a package of one module into a folder, offering something under a name.

    Returns:
        The environment that has it.
    """
    metadata = folder / "tuneoff_more-1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (folder / "tuneoff_more.py").write_text(code)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tuneoff-more\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}
