"""Generic registry of named classes and functions: heads, hooks, edits, objectives and so on."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
Registered = TypeVar("Registered")


def describe_unknown(kind: str, name: str, known: Iterable[str], *, listed_as: str = "Registered") -> str:
    """Return an error message for an unknown name, with the nearest known name and a list of all known names.

    Args:
        kind: what kind of thing the name stands for, in the singular ("head").
        name: the unknown name.
        known: the known names.
        listed_as: heading of the list.
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"Unknown {kind} '{name}'.{hint} {listed_as}: {', '.join(names) or 'none'}."


class UnknownNameError(ValueError):
    """Raised for a name that is not a known entry, option or setting."""


def _is_new_version(entry: object, existing: object) -> bool:
    """Return whether a class or function is a new version of an existing one, which it may replace.

    This is the case if a notebook cell or a module is run again: the module and the name are the same. In a notebook,
    the name may be different, because users also rename the class or function in a cell.
    """
    if entry.__module__ != existing.__module__:
        return False
    is_interactive = entry.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    return is_interactive or entry.__qualname__ == existing.__qualname__  # type: ignore[attr-defined]


class Registry(Generic[Entry]):
    """Mapping from names to registered classes or functions.

    Args:
        kind: what an entry is, in the singular, for error messages ("head").
        base: required base class of all entries; by default, any entry is allowed.
        built_in: package whose modules register the built-in entries. It is imported on first use of the registry, so
            that its modules can import the registry. By default, built-in entries are in the registry's own module.
    """

    def __init__(self, kind: str, base: type | None = None, *, built_in: str | None = None) -> None:
        self.kind = kind
        self.base = base
        self._built_in = built_in
        self._registered: dict[str, Entry] = {}

    @property
    def _entries(self) -> dict[str, Entry]:
        """All entries; the first access imports the built-in ones."""
        if self._built_in is not None:
            package, self._built_in = self._built_in, None  # cleared first: the import itself uses this registry
            importlib.import_module(package)
        return self._registered

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that registers a class or function under `name`.

        If it is run again, for example in a notebook cell, the new class or function replaces the earlier one.

        Raises:
            ValueError: if a different class or function has the name, if it contains anything but letters, digits and
                underscores, or if the decorated object is not a subclass of `base`.
        """
        if not name.replace("_", "").isalnum():
            raise ValueError(f"Expected {self.kind} name of letters, digits and underscores only; got '{name}'.")

        def decorate(entry: Registered) -> Registered:
            if self.base is not None and not (inspect.isclass(entry) and issubclass(entry, self.base)):
                raise ValueError(
                    f"@register_{self.kind}('{name}') expects a subclass of {self.base.__name__}; got {entry!r}."
                )
            # A module of built-in entries that is imported directly must not import all other built-in entries.
            entries = self._registered if self._is_imported_directly(entry) else self._entries
            existing = entries.get(name)
            if existing is not None and not _is_new_version(entry, existing):
                raise ValueError(
                    f"The {self.kind} '{name}' is already registered by {existing.__module__}; choose another name."
                )
            entries[name] = entry  # type: ignore[assignment]
            return entry

        return decorate

    def _is_imported_directly(self, entry: object) -> bool:
        """Return whether an entry is built in and its module is imported before the registry is first used.

        Once the built-in entries are being imported, or if they have no package of their own, the result is False.
        """
        package = (self._built_in or "").partition(".")[0]
        return getattr(entry, "__module__", "").partition(".")[0] == package

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """On exit, remove the entries that were registered inside the context; for tests of user-defined entries."""
        entries_before = dict(self._entries)
        try:
            yield
        finally:
            self._registered = entries_before

    def name_of(self, entry: object) -> str | None:
        """Return the name under which an object is registered, or None."""
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
