"""The versions of PyTorch that can split a model (--shard). This module does not import torch."""

from __future__ import annotations

import importlib.metadata

TESTED_VERSIONS = ("2.13.",)
"""Beginnings of the versions with which the private attributes in wrapping/fully_sharded.py were tested."""


def check_torch_version() -> None:
    """Check that --shard was tested with the installed version of PyTorch.

    Raises:
        ValueError: if it was not.
    """
    version = importlib.metadata.version("torch")
    if not version.startswith(TESTED_VERSIONS):
        accepted = " or ".join(f"{start}*" for start in TESTED_VERSIONS)
        raise ValueError(
            f"--shard fsdp2 requires PyTorch {accepted}; found {version}. Install that version, or train without "
            "--shard."
        )
