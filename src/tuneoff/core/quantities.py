"""Durations and sizes as people write them: `90s`, `5m`, `2h`; `512MB`, `4GB`, `4GiB`."""

from __future__ import annotations

import re
from math import inf

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
BYTES = {
    **{"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40},
}


def parse_seconds(text: str) -> float:
    """Seconds of a duration such as `90s`, `5m` or `2h`.

    Raises:
        ValueError: where it is none.
    """
    return _parse(text, SECONDS, "a duration such as 90s, 5m or 2h")


def parse_bytes(text: str) -> int:
    """Bytes of a size such as `512MB`, `4GB` (powers of ten) or `4GiB` (powers of two); small letters will do.

    Raises:
        ValueError: where it is none.
    """
    return int(_parse(text, BYTES, "a size such as 512MB, 4GB or 4GiB"))


def _parse(text: str, units: dict[str, float] | dict[str, int], example: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    by_unit = {unit.lower(): size for unit, size in units.items()}
    if match is None or match[2].lower() not in by_unit:
        raise ValueError(f"write {example}")
    value = float(match[1]) * by_unit[match[2].lower()]
    if not 0 < value < inf:
        raise ValueError(f"write {example}")
    return value
