"""One registry for everything that a name in a recipe or on the command line can stand for."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
Registered = TypeVar("Registered")


def describe_unknown(kind: str, name: str, known: Iterable[str], *, listed_as: str = "Registered") -> str:
    """Say that `name` is unknown, which known name is nearest, and what all the known names are."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"Unknown {kind} '{name}'.{hint} {listed_as}: {', '.join(names) or 'none'}."


class UnknownNameError(ValueError):
    """A name that no registry entry, option or setting has."""


def _is_same_place(first: object, second: object) -> bool:
    """Return whether two classes or functions are one, defined again: a notebook's cell was run twice."""
    return all(getattr(first, key) == getattr(second, key) for key in ("__module__", "__qualname__"))


class Registry(Generic[Entry]):
    """Names and what they stand for.

    Args:
        kind: what the entries are, in the singular, for error messages ("head").
        base: the class that every entry is a subclass of; by default, entries may be anything.
        built_in: the package whose modules register Midway's own entries. It is imported when the registry is first
            used, so that the registry can be defined below its entries; by default, they are beside the registry.
    """

    def __init__(self, kind: str, base: type | None = None, *, built_in: str | None = None) -> None:
        self.kind = kind
        self.base = base
        self._built_in = built_in
        self._own_entries: dict[str, Entry] = {}

    @property
    def _entries(self) -> dict[str, Entry]:
        """The entries, Midway's own among them."""
        if self._built_in is not None:
            package, self._built_in = self._built_in, None  # its modules register here while they are imported
            importlib.import_module(package)
        return self._own_entries

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that registers a class or function under `name`.

        Raises:
            ValueError: if the name is taken by something else, or is not a word that can stand on a command line, or
                what is decorated is no subclass of `base`.
        """
        if not name.replace("_", "").isalnum():
            raise ValueError(f"A {self.kind}'s name is made of letters, digits and underscores; got '{name}'.")

        def decorate(entry: Registered) -> Registered:
            if self.base is not None and not (inspect.isclass(entry) and issubclass(entry, self.base)):
                raise ValueError(
                    f"@register_{self.kind}('{name}') expects a subclass of {self.base.__name__}, got {entry!r}."
                )
            # A module of Midway's own that is imported alone must not wait for all others to be imported.
            entries = self._own_entries if self._is_built_in(entry) else self._entries
            taken = entries.get(name)
            if taken is not None and not _is_same_place(taken, entry):
                raise ValueError(
                    f"The {self.kind} '{name}' is registered already, by {taken.__module__}; choose another name."
                )
            entries[name] = entry  # type: ignore[assignment]
            return entry

        return decorate

    def _is_built_in(self, entry: object) -> bool:
        package = (self._built_in or "").partition(".")[0]
        return getattr(entry, "__module__", "").partition(".")[0] == package

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Forget on leaving what was registered inside, as a test of an own entry wants it."""
        before = dict(self._entries)
        try:
            yield
        finally:
            self._own_entries = before

    def name_of(self, entry: object) -> str | None:
        """Return the name that something is registered under, or None."""
        return next((name for name, registered in self._entries.items() if registered is entry), None)

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise UnknownNameError(describe_unknown(self.kind, name, self._entries))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
