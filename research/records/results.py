"""The files with a run's settings and result, and the hash and versions that the result contains."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from research.settings.config import RunConfig
from research.settings.run_files import CONFIG, RESULT
from research.system.durable import write_text
from research.system.json_values import as_json
from research.system.sharded_tensors import gather


def write_config(directory: Path, config: RunConfig) -> None:
    """Write every resolved setting to config.yaml, so that `run.py --recipe config.yaml` repeats the run."""
    write_text(directory / CONFIG, config_as_yaml(config))


def config_as_yaml(config: RunConfig) -> str:
    """Return the settings as YAML, without those that concern only one invocation, such as --resume."""
    return yaml.safe_dump(config.to_recipe(), sort_keys=False, allow_unicode=True)


def write_result(directory: Path, result: dict[str, Any]) -> None:
    """Write result.json atomically."""
    write_text(directory / RESULT, json.dumps(as_json(result), indent=2, allow_nan=False))


def read_result(directory: Path) -> dict[str, Any] | None:
    """Return the content of a directory's result.json, or None if there is no such file.

    Raises:
        ValueError: if the file is damaged.
    """
    path = directory / RESULT
    try:
        result: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except json.JSONDecodeError as error:
        raise ValueError(f"Cannot read {path} ({error}). Delete it to continue from the newest checkpoint.") from None
    return result


def read_metrics(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the metrics in the content of a finished run's result.json, by split and name.

    JSON has neither NaN nor infinite numbers: metrics that are not defined are stored as null, infinite ones as "inf".
    """
    return {
        split: {name: math.nan if value is None else float(value) for name, value in values.items()}
        for split, values in result["metrics"].items()
    }


def weights_sha256(model: torch.nn.Module) -> str:
    """Return a SHA-256 hash over the names, shapes and bytes of all parameters and buffers, in order of their names.

    Called on every process if parameters are split over the processes.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        data: Any = gather(tensor).cpu().reshape(-1).view(torch.uint8).numpy()
        digest.update(data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    packages = ("midway", "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def git_commit() -> str | None:
    """Return the Git commit of this package's source code, with the suffix `-modified` if tracked files differ from it.

    Returns None if the source files are not tracked by Git, for example because the package is installed in a virtual
    environment inside another project's repository.
    """
    folder = Path(__file__).parent
    commands = (
        ["git", "ls-files", "--error-unmatch", Path(__file__).name],
        ["git", "rev-parse", "HEAD"],
        ["git", "status", "--porcelain", "--untracked-files=no"],
    )
    try:
        _, commit, changes = (
            subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for command in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-modified" if changes else commit
