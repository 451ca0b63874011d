"""Check that all processes see the files that they share: the checkpoint to continue from, and the run directory.

Processes on several machines may have different file systems. Without these checks, such a run would fail only when it
saves its first checkpoint or loads the best model.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object

from research.settings.config import RunConfig
from research.settings.run_files import CONFIG
from research.system import durable
from research.system.manifest import MANIFEST
from research.system.messages import logger
from research.training.accelerator import fail_together
from research.training.checkpoint.find import CheckpointError

VISIBILITY_TIMEOUT = 10.0
"""Seconds after which a new file of the main process must be visible. Network file systems show new files late."""
POLL_SECONDS = 0.05
"""Pause between two looks at the file."""


def check_same_checkpoint(accelerator: Accelerator, checkpoint: Path) -> None:
    """Check that every process sees the same checkpoint under this path; called on every process.

    Raises:
        CheckpointError: on every process, if not; names the processes.
    """
    if accelerator.num_processes == 1:
        return
    digests = gather_object([_hash_file(checkpoint / MANIFEST)])
    differing = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if differing:
        raise CheckpointError(
            f"Expected the checkpoint {checkpoint} on every process; not found, or different, on {_name(differing)}. "
            "All machines need the same checkpoint under this path: use a shared file system."
        )


def check_shared_directory(accelerator: Accelerator, directory: Path, config: RunConfig) -> None:
    """Check that every process sees the files that the main process writes into the run directory.

    Called on every process. A run that shares no files is allowed, with a message.

    Args:
        accelerator: accelerator of this process.
        directory: the run directory, which exists for the main process.
        config: the final settings.
    Raises:
        ValueError: on every process, if a process does not see the files, and a setting requires that it does.
    """
    if accelerator.num_processes == 1:
        return
    tokens = [uuid.uuid4().hex]
    broadcast_object_list(tokens)  # from the main process
    (token,) = tokens
    marker = directory / f".{CONFIG}-{token}.writing"  # if the process is killed, a resumed run deletes the file
    with fail_together(accelerator):
        if accelerator.is_main_process:
            with durable.converting_write_errors(marker, needed=len(token)):
                marker.write_text(token, encoding="utf-8")
    try:
        is_visible = gather_object([_appears(marker, token)])
    finally:
        if accelerator.is_main_process:
            durable.remove(marker)
    blind = [rank for rank, sees in enumerate(is_visible) if not sees]
    if not blind:
        return
    needing = [f"--{name}" for name in ("save_every", "best_metric") if getattr(config, name) is not None]
    if needing:
        raise ValueError(
            f"Expected every process to see the run directory {directory} of process 0, which {' and '.join(needing)} "
            f"requires; it is not visible to {_name(blind)}. All machines need the same run directory: set "
            "--output_dir to a folder on a shared file system."
        )
    logger.warning(
        f"The run directory {directory} of process 0 is not visible to {_name(blind)}: the run cannot save a "
        "checkpoint if a signal ends it. If it must, set --output_dir to a folder on a shared file system."
    )


def _name(ranks: list[int]) -> str:
    return f"process {ranks[0]}" if len(ranks) == 1 else f"processes {', '.join(map(str, ranks))}"


def _hash_file(path: Path) -> str | None:
    """Return the hash of a file; None if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _appears(marker: Path, token: str) -> bool:
    """Wait until a file is visible, and return whether it became visible in time with the expected content."""
    deadline = time.monotonic() + VISIBILITY_TIMEOUT
    while True:
        try:
            if marker.read_text(encoding="utf-8") == token:
                return True
        except OSError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
