"""Locations of the package's scripts, for starting them and for printing command lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path


@contextmanager
def skipping_scripts(name: str) -> Iterator[None]:
    """Import a library in this context, even if Python would find a script with the library's name first.

    Python imports first from the folder of the script that it runs, or from the working directory. The script
    evaluate.py would therefore hide the library evaluate from all scripts in its folder.

    Args:
        name: name of a library that consists of a folder, not of a single file.
    """
    before = sys.path[:]
    sys.path[:] = [folder for folder in before if not Path(folder, f"{name}.py").is_file()]
    try:
        yield
    finally:
        sys.path[:] = before


def script_path(name: str) -> Path:
    """Return the path of a script in research/scripts, for starting the script in a new process.

    Midway does not start its own processes with `python -m`, because Python would then import from the user's working
    directory first, which may contain a different package called heads or research.
    """
    with as_file(files("research.scripts") / f"{name}.py") as path:
        return path


def launch_command(num_processes: int = 1) -> str:
    """Return the command that starts run.py in `num_processes` processes, without any settings."""
    return (
        f"accelerate launch {f'--num_processes {num_processes} ' if num_processes > 1 else ''}{script_argument('run')}"
    )


def script_argument(name: str) -> str:
    """Return how to name a script after `python` or `accelerate launch`, for a command line that is shown to the user.

    Returns:
        In a clone of the repository, the file in experiments/ that starts the script. In an installed package, `-m` and
        the script's module.
    """
    in_clone = Path("experiments", f"{name}.py")
    return str(in_clone) if (Path(__file__).parents[2] / in_clone).is_file() else f"-m research.scripts.{name}"
