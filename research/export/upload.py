"""Upload an exported folder to the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from research.system.errors import one_line

# The errors that the Hub client raises without a connection: OSError and, depending on the client's version, an error
# of httpx or httpx2.
_CONNECTION_ERRORS: Any = HfHubHTTPError.__bases__
_LOGIN = "Log in with `hf auth login`, or set HF_TOKEN, with a token that may write."
_EXISTS = "it exists. Choose another name, or upload into it with --overwrite."


def check_upload(repository: str, *, private: bool, overwrite: bool) -> None:
    """Check that a folder can be uploaded, before it is written.

    Args:
        repository: USER/NAME.
        private: whether only its owner may read the repository.
        overwrite: whether an existing repository may be changed.
    Raises:
        ValueError: if this is not the name of a repository, there is no valid token, the Hub cannot be reached, or the
            repository exists and may not be changed or is public against `private`.
    """
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise ValueError(f"Expected --push_to_hub USER/NAME, got '{repository}': {one_line(error)}") from None
    if repository.count("/") != 1:
        raise ValueError(f"Expected --push_to_hub USER/NAME, got '{repository}'.")
    if get_token() is None:
        raise ValueError(f"--push_to_hub needs a token of the Hugging Face Hub. {_LOGIN}")
    with _converting_errors(repository):
        HfApi().whoami()
        try:
            is_private = HfApi().model_info(repository).private
        except RepositoryNotFoundError:
            return
    if not overwrite:
        raise ValueError(f"Cannot upload to {repository} on {constants.ENDPOINT}: {_EXISTS}")
    if private and not is_private:
        raise ValueError(
            f"The repository {repository} on {constants.ENDPOINT} is public, and --private does not change that. Make "
            "it private in its settings on the Hub, or leave out --private."
        )


def upload(folder: Path, repository: str, *, private: bool, overwrite: bool) -> str:
    """Create a repository, upload a folder, and return the address of the repository.

    Args:
        folder: the folder.
        repository: USER/NAME.
        private: whether only its owner can read a new repository.
        overwrite: whether an existing repository may be changed. Files in it that the folder lacks are kept.
    Raises:
        ValueError: if the repository exists and may not be changed, or the upload fails.
    """
    api = HfApi()
    with _converting_errors(repository):
        url = api.create_repo(repository, private=private or None, exist_ok=overwrite)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Model exported by Midway")
    return str(url)


@contextmanager
def _converting_errors(repository: str) -> Iterator[None]:
    """Convert errors of the Hub client to ValueErrors of one line."""
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        reasons = {
            401: f"the token is not valid. {_LOGIN}",
            403: f"your token may not write to it. {_LOGIN}",
            404: "there is no such user or organisation, or your token may not see it.",
            409: _EXISTS,
        }
        reason = reasons.get(status, one_line(error))
        raise ValueError(f"Cannot upload to {repository} on {constants.ENDPOINT}: {reason}") from error
    except _CONNECTION_ERRORS as error:
        raise ValueError(
            f"Cannot upload to {repository}: {constants.ENDPOINT} cannot be reached ({one_line(error)})."
        ) from error
