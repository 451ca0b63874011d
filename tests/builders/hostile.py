"""Build files that run code when they are unpickled or loaded, and manifests with matching hashes."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from research.system.errors import is_user_facing
from research.system.manifest import MANIFEST, write_manifest

Forge = Callable[[object], bytes]
"""Function that takes an object and returns the content of a file with the object."""


class Trap:
    """An object that creates the file `marker` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def assert_one_line(error: ValueError) -> None:
    """Check that the user sees one line and no traceback."""
    assert is_user_facing(error), "a traceback would be shown"
    assert "\n" not in str(error)


def rewrite_manifest(folder: Path) -> None:
    """Replace the manifest with one whose hashes match: an attacker who can forge a file can forge its hash too."""
    (folder / MANIFEST).unlink(missing_ok=True)
    write_manifest(folder)


def add_to_manifest(folder: Path, name: str, file: Path) -> None:
    """Add `file` to the manifest of a folder under a name, with its true length and hash."""
    manifest = json.loads((folder / MANIFEST).read_text())
    content = file.read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def save_with_torch(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def save_in_old_torch_format(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def save_as_pickle(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)  # torch warns about other protocols


def add_remote_code(folder: Path, marker: Path, config: str = "config.json") -> None:
    """Write Python code into a model folder. The config names the code's classes, as `trust_remote_code` expects.

    Args:
        folder: folder of the model.
        marker: file that the code creates when it is imported.
        config: name of the config file in the folder.
    """
    (folder / "code.py").write_text(
        "from pathlib import Path\n"
        "from transformers import BertConfig, BertModel, BertTokenizerFast\n\n"
        f"Path({str(marker)!r}).touch()\n\n"
        "class Config(BertConfig): pass\nclass Model(BertModel): pass\nclass Tokenizer(BertTokenizerFast): pass\n"
    )
    classes = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": [None, "code.Tokenizer"]}
    classes["AutoModelForSequenceClassification"] = "code.Model"
    settings = json.loads((folder / config).read_text())
    (folder / config).write_text(json.dumps({**settings, "auto_map": classes}))
