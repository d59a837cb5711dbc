"""What can be added to tuneoff: classes under names, of its own packages and of other people's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, Protocol, TypeVar

from tuneoff.core.errors import UserError
from tuneoff.core.names import did_you_mean


class Registered(Protocol):
    """What a class that is found by a name offers."""

    @classmethod
    def registered_name(cls) -> str | None:
        """What a study file calls it; None of a class that only others derive from."""


Kind = TypeVar("Kind", bound=Registered)


class Registry(Generic[Kind]):
    """The classes of one kind, by name: each a module of a package of tuneoff, or an entry point of another package.

    They are looked for when they are first asked for: the study file, which names them, is read below their packages.

    Args:
        package: whose modules define them, such as `tuneoff.methods`.
        base: the class that they derive from, such as `tuneoff.spec.arms.ArmSpec`.
        word: what people call one of them.
        group: of entry points; called like the package when left out.
    """

    def __init__(self, package: str, base: str, word: str, group: str | None = None) -> None:
        self._package = package
        self._group = group or package
        self._base = base
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

    def named(self, name: str) -> type[Kind]:
        """One of them.

        Raises:
            ValueError: where there is none of that name; says which is near it.
        """
        classes = self.classes()
        if name not in classes:
            raise ValueError(f"unknown {self._word} '{name}'{did_you_mean(name, classes)}")
        return classes[name]

    def _look(self) -> dict[str, type[Kind]]:
        module, _, name = self._base.rpartition(".")
        base: type[Kind] = getattr(importlib.import_module(module), name)
        for found in pkgutil.iter_modules(importlib.import_module(self._package).__path__):
            importlib.import_module(f"{self._package}.{found.name}")
        for point in entry_points(group=self._group):
            whose = f"the {self._word} '{point.name}'{f' of {point.dist.name}' if point.dist else ''}"
            try:
                loaded = point.load()
            except Exception as error:  # whatever another package raises at import
                raise UserError(f"{whose} cannot be loaded: {type(error).__name__}: {error}") from error
            if not isinstance(loaded, type) or not issubclass(loaded, base):
                raise UserError(f"{whose} is no {base.__name__}")
        classes: dict[str, type[Kind]] = {}
        for cls in _subclasses(base):
            called = cls.registered_name()
            if called is not None and classes.setdefault(called, cls) is not cls:
                raise UserError(
                    f"two {self._word}s are called '{called}': {_path(classes[called])} and {_path(cls)}; uninstall one"
                )
        return dict(sorted(classes.items()))


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _subclasses(cls: type[Kind]) -> Iterator[type[Kind]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
