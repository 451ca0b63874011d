"""Locations of the package's scripts, for starting them and for printing command lines."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path


def script(name: str) -> Path:
    """Return the file of a script in research/scripts, for starting it in a new process.

    `-m` is not used, because Python would then first import from the user's working directory, which may contain
    another package called heads or research.
    """
    with as_file(files("research.scripts") / f"{name}.py") as path:
        return path


def launch_command(num_processes: int = 1) -> str:
    """Return the start of a command line of run.py, without its settings, for a number of processes."""
    return (
        f"accelerate launch {f'--num_processes {num_processes} ' if num_processes > 1 else ''}{script_argument('run')}"
    )


def script_argument(name: str) -> str:
    """Return the argument of `python` or `accelerate launch` that runs a script.

    Returns:
        The script's file in a clone of the repository; `-m` and its module in an installed package.
    """
    in_clone = Path("experiments", f"{name}.py")
    return str(in_clone) if (Path(__file__).parents[2] / in_clone).is_file() else f"-m research.scripts.{name}"
