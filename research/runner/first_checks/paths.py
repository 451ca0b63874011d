"""Check that files, folders, encoders and runs named in the settings exist.

Functions named find_... are called here only because they raise an error if there is nothing to find.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from research.model.local_encoders import can_only_be_path, find_local_encoder
from research.model.saved_models import find_saved_model
from research.records.run_directory import check_directory, run_directory
from research.settings.config import RunConfig
from research.settings.demo_packages import DEMO_DATA, DEMO_ENCODERS, find_package
from research.settings.registries import read_registry
from research.system.launcher import was_launched
from research.system.paths import expand_path
from research.system.plain_text import for_message
from research.training.checkpoint.find import check_checkpoint, check_fork_step_exists


def check_paths(config: RunConfig) -> None:
    """Check that paths exist and are of the right kind, and that the encoder can exist.

    Raises:
        ValueError: if not; names the setting and the path.
    """
    if config.resume not in (None, "auto"):
        check_checkpoint(Path(str(config.resume)), "--resume")
    # A checkpoint has its own weights. The parent or the saved model that its run started from may no longer exist.
    if config.resume is None:
        if config.fork is not None:
            check_fork_step_exists(config.fork)
        elif config.init_from is not None:
            _check_path("init_from", config.init_from)
            find_saved_model(expand_path(config.init_from))
    _check_data(config.data, allow_unregistered=bool(config.plugin))
    _check_encoder(config.encoder, allow_unregistered=bool(config.plugin))


def check_run_directory(config: RunConfig) -> None:
    """Check that the run may use its run directory.

    Raises:
        ValueError: if the directory is taken or not readable, or --resume auto is given without --name or --output_dir.
    """
    if config.name is None and config.output_dir is None:
        if config.resume == "auto":
            raise ValueError("--resume auto needs --name or --output_dir: the default name changes with every run.")
    elif not was_launched():  # a launcher may have restarted this run, whose directory then exists
        check_directory(run_directory(config), config)


def _check_data(data: str, *, allow_unregistered: bool) -> None:
    prefix, *_ = data.split(":")
    if data in DEMO_DATA:
        find_package(DEMO_DATA[data])
    elif prefix not in read_registry("data") and not (allow_unregistered and _may_be_registered(data)):
        _check_path("data", data)


def _check_encoder(encoder: str, *, allow_unregistered: bool) -> None:
    registered = read_registry("encoders")
    if encoder in registered:
        if encoder in DEMO_ENCODERS:
            find_package(DEMO_ENCODERS[encoder])
        return
    if can_only_be_path(encoder):
        _check_path("encoder", encoder)
    find_local_encoder(encoder, () if allow_unregistered else registered)


def _may_be_registered(data: str) -> bool:
    """Return whether `data` looks like a registered data source: a single word, or a prefix as in hub:name."""
    return data.replace("_", "").isalnum() or ":" in data


def _check_path(setting: str, value: str) -> None:
    path = expand_path(value)
    if path.exists():
        return
    try:
        candidates = {entry: str(path.parent / entry) for entry in os.listdir(path.parent)}
    except OSError:  # the parent folder does not exist or is not readable
        candidates = {}
    if setting == "data":
        candidates |= {packaged: packaged for packaged in DEMO_DATA}
    nearest = difflib.get_close_matches(path.name, candidates, n=1)
    hint = f" Did you mean '{candidates[nearest[0]]}'?" if nearest else ""
    raise ValueError(for_message(f"There is no file or folder '{path}' for --{setting}.{hint}"))
