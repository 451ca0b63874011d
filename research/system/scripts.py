"""Where the package's scripts are, for starting them in processes of their own."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path


def script(name: str) -> Path:
    """Return the file of a script of research/scripts.

    A file rather than `-m`: with that, Python would import from the folder in which the user works before all others,
    where any folder may be called heads or research.
    """
    with as_file(files("research.scripts") / f"{name}.py") as path:
        return path
