"""`docs/compatibility.md`: what works with what, by the methods, the architectures and the declared holes.

    python tests/compatibility.py     writes it

`make test-matrix` finds out whether it is true.
"""

from __future__ import annotations

from pathlib import Path

from holes import HOLES, Hole, hole_of
from tiny_models import CONFIGURATIONS, UNKNOWN
from tuneoff.spec.arms import METHODS

TEMPLATE = Path(__file__).with_name("compatibility.md")
PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"


def page() -> str:
    """The whole page."""
    methods = [name for name, method in METHODS.classes().items() if not method.fitted]
    kinds = [*CONFIGURATIONS, *UNKNOWN]
    numbers = {hole: number for number, hole in enumerate(HOLES, start=1)}
    cells = len(methods) * len(kinds)
    lost = sum(hole_of(method, kind, "builds") is not None for method in methods for kind in kinds)
    grid = [
        "| | " + " | ".join(f"`{method}`" for method in methods) + " |",
        "| --- |" + " :---: |" * len(methods),
        *(f"| {kind} | " + " | ".join(_symbol(method, kind, numbers) for method in methods) + " |" for kind in kinds),
    ]
    holes = [
        f"| {number} | {WHAT[hole.what]} | {', '.join(hole.methods) or 'all'} | {', '.join(hole.kinds) or 'all'} "
        f"| {hole.cause} |"
        for hole, number in numbers.items()
    ]
    quantised = [
        f"| `{name}` | {', '.join(METHODS.classes()[name].quantizations())} |"
        for name in methods
        if METHODS.classes()[name].backbone_bits
    ]
    filled = {
        "COUNTED": f"{len(methods)} methods on {len(kinds)} architectures: {cells - lost:,} of {cells:,} cells work "
        f"({(cells - lost) / cells:.1%}).",
        "GRID": "\n".join(grid),
        "HOLES": "\n".join(holes),
        "QUANTISED": "\n".join(quantised),
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, made in filled.items():
        text = text.replace(f"{{{name}}}", made)
    return text


WHAT = {"builds": "all", "merges": "merging", "checkpointing": "gradient checkpointing"}


def _symbol(method: str, kind: str, numbers: dict[Hole, int]) -> str:
    found = {what: hole for what in WHAT if (hole := hole_of(method, kind, what)) is not None}
    if "builds" in found:
        return str(numbers[found["builds"]])
    return "+" + "".join(f"({numbers[hole]})" for hole in found.values())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: written")
