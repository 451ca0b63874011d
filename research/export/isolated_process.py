"""Run a script in a process that can import only some installed packages and what they require."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.requirements import Requirement

BASE = ("torch", "transformers")
"""Distributions that every exported model needs."""


def run_isolated(script: Path, arguments: Sequence[str], distributions: Iterable[str]) -> None:
    """Run a Python script in a new process that sees only some packages, as in an environment of its own.

    Args:
        script: the script. Its first argument is the folder of the packages, which it adds to sys.path.
        arguments: further arguments of the script.
        distributions: names of installed distributions, such as transformers.
    Raises:
        ValueError: if the script fails; the message contains the last line of its error.
    """
    with tempfile.TemporaryDirectory(prefix="midway-packages-") as folder:
        link_packages(Path(folder), distributions)
        # -I ignores PYTHONPATH, the working directory and the user's packages; -S those of the environment.
        command = [sys.executable, "-I", "-S", str(script), folder, *arguments]
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_MODULES_CACHE": str(Path(folder, "modules")),  # Transformers copies a model's code there
            "TRANSFORMERS_VERBOSITY": "error",
        }
        completed = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    if completed.returncode:
        lines = completed.stderr.strip().splitlines() or [f"exit status {completed.returncode}"]
        raise ValueError(f"The exported model does not load without Midway: {lines[-1]}")


def link_packages(folder: Path, distributions: Iterable[str]) -> None:
    """Link installed distributions, and all that they require, into a folder that can be added to sys.path."""
    for name in sorted(required_distributions(distributions)):
        files = importlib.metadata.distribution(name).files
        if files is None:
            raise ValueError(f"Cannot find the files of the package {name}. Install it with pip.")
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            link = folder / top
            if not link.exists():  # several distributions may share a folder
                link.symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(top))))


def required_distributions(names: Iterable[str]) -> set[str]:
    """Return distributions and all installed distributions that they require, without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # not needed on this system, or optional
        found.add(name)
        for requirement in map(Requirement, requirements):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def further_distributions(modules: Iterable[str]) -> list[str]:
    """Return the distributions of modules, except for those that Transformers and PyTorch require.

    Args:
        modules: names of top-level modules.
    """
    known = importlib.metadata.packages_distributions()
    return sorted({name for module in modules for name in known.get(module, [])} - required_distributions(BASE))
