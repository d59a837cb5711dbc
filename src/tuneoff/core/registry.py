"""What can be added to tuneoff: classes under names, of its own packages and of other people's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from tuneoff.core.errors import UserError

Kind = TypeVar("Kind")


class Registry(Generic[Kind]):
    """The classes of one kind, by name: each a module of a package of tuneoff, or an entry point of another package.

    They are looked for when they are first asked for.

    Args:
        package: whose modules define them, such as `tuneoff.methods`; the group of entry points has the same name.
        kind: the class that they derive from.
        name_of: what a study file calls one of them; None of one that only others derive from.
        word: what people call one of them.
    """

    def __init__(self, package: str, kind: type[Kind], name_of: Callable[[type[Kind]], str | None], word: str) -> None:
        self._package = package
        self._kind = kind
        self._name_of = name_of
        self._word = word
        self._found: dict[str, type[Kind]] | None = None

    def classes(self) -> dict[str, type[Kind]]:
        """All of them by name, in alphabetical order.

        Raises:
            UserError: where another package's cannot be loaded, or two have the same name.
        """
        if self._found is None:
            self._found = self._look()
        return self._found

    def _look(self) -> dict[str, type[Kind]]:
        for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self._package):
            whose = f"the {self._word} '{point.name}'{f' of {point.dist.name}' if point.dist else ''}"
            try:
                loaded = point.load()
            except Exception as error:  # whatever another package raises at import
                raise UserError(f"{whose} cannot be loaded: {type(error).__name__}: {error}") from error
            if not isinstance(loaded, type) or not issubclass(loaded, self._kind):
                raise UserError(f"{whose} is no {self._kind.__name__}")
        found: dict[str, type[Kind]] = {}
        for cls in _subclasses(self._kind):
            name = self._name_of(cls)
            if name is not None and found.setdefault(name, cls) is not cls:
                raise UserError(
                    f"two {self._word}s are called '{name}': {_path(found[name])} and {_path(cls)}; uninstall one"
                )
        return dict(sorted(found.items()))


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _subclasses(cls: type[Kind]) -> Iterator[type[Kind]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
