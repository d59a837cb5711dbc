"""The fine-tuning methods: every module of this package that defines a named `Method` is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import get_args

from tuneoff.methods.base import Method

__all__ = ["Method", "registry"]


@cache
def registry() -> dict[str, type[Method]]:
    """All methods by name, in alphabetical order."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    names = {cls: get_args(cls.model_fields["method"].annotation) for cls in _subclasses(Method)}
    return {name[0]: cls for cls, name in sorted(names.items(), key=lambda item: item[1]) if name}


def _subclasses(cls: type[Method]) -> Iterator[type[Method]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
