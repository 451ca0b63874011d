"""Optional packages, which not every user needs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A package that an optimizer needs and that Midway does not install by default."""

    module: str
    """Name under which the package is imported."""
    extra: str
    """Midway's extra that installs the package."""

    def check_installed(self, needed_by: str) -> None:
        """Check that the package is installed, without importing it.

        Args:
            needed_by: what needs the package, for the message.
        Raises:
            ValueError: if it is not installed; the message contains the command that installs it.
        """
        if importlib.util.find_spec(self.module) is None:
            raise ValueError(
                f"The {needed_by} requires the package {self.module}; install it with: "
                f'pip install "midway[{self.extra}]"'
            )
