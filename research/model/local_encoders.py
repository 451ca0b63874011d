"""Find an encoder on this machine, without the Hugging Face Hub."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from heads.registry import UnknownNameError, describe_unknown
from research.system.paths import expand_path

ENCODER_HINT = "An encoder is a registered name (see --list encoders), a local folder, or a Hugging Face Hub id."


def find_local_encoder(encoder: str, registered: Collection[str]) -> Path | None:
    """Return the local folder of an encoder, or None if its name is an id of the Hugging Face Hub.

    Args:
        encoder: value of the setting `encoder`; not a registered name.
        registered: registered names, for suggestions.
    Raises:
        ValueError: if the path is a file, or a folder that does not exist or has no config.json; or if the name
            resembles a registered name or cannot be a Hub id.
    """
    path = expand_path(encoder)
    if path.is_dir():
        if not expand_path(str(path / "config.json")).is_file():
            raise ValueError(f"The encoder {path} has no config.json.")
        return path
    if path.exists():
        raise ValueError(f"Expected the folder of an encoder, got the file {path}.")
    if can_only_be_path(encoder):
        raise ValueError(f"The folder {encoder} does not exist. {ENCODER_HINT}")
    if difflib.get_close_matches(encoder, registered, n=1):
        raise UnknownNameError(describe_unknown("encoder", encoder, registered))
    from huggingface_hub.errors import HFValidationError  # here, because only Hub encoders need it
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(encoder)
    except HFValidationError:
        raise ValueError(f"'{encoder}' is neither a folder nor a valid Hub id. {ENCODER_HINT}") from None
    return None


def can_only_be_path(encoder: str) -> bool:
    """Return whether an encoder can only be a path: a Hub id has at most one slash."""
    return encoder.startswith((".", "/", "~")) or encoder.count("/") > 1
