"""Where the package's scripts are: for starting them in processes of their own, and for those who call them."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path


def script(name: str) -> Path:
    """Return the file of a script of research/scripts, to start it.

    A file rather than `-m`: with that, Python would import from the folder in which the user works before all others,
    where a package may be called heads or research as well.
    """
    with as_file(files("research.scripts") / f"{name}.py") as path:
        return path


def launch_command(num_processes: int = 1) -> str:
    """Return how run.py is called, up to its settings, for a number of processes."""
    return f"accelerate launch {f'--num_processes {num_processes} ' if num_processes > 1 else ''}{typed_as('run')}"


def typed_as(name: str) -> str:
    """Return what is typed after `python` or `accelerate launch` to call a script.

    Returns:
        Its file in a clone of the repository; the installed package has it as a module.
    """
    in_clone = Path("experiments", f"{name}.py")
    return str(in_clone) if (Path(__file__).parents[2] / in_clone).is_file() else f"-m research.scripts.{name}"
