"""The command line of an additional worker."""

from __future__ import annotations

import sys
from pathlib import Path

from research.studies.storage.study import Study
from research.system.scripts import script_path


def worker_command(
    study: Study, directory: Path, *, num_workers: int, accelerate_config: str | None, trial_timeout: str | None
) -> list[str]:
    """Return the command that starts a worker of a study; the arguments are those of `ablate.py work`."""
    command = [sys.executable, str(script_path("ablate")), "work", "--study", study.name, "--storage", study.address]
    command += ["--directory", str(directory), "--num_workers", str(num_workers)]
    if accelerate_config is not None:
        command += ["--accelerate_config", accelerate_config]
    if trial_timeout is not None:
        command += ["--trial_timeout", trial_timeout]
    return command
