"""Files that would run code where they are unpickled or loaded, and manifests that fit them."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from research.system.errors import is_user_facing
from research.system.manifest import MANIFEST, write_manifest

Forge = Callable[[object, Path], bytes]


class Trap:
    """Makes a file where it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


def assert_one_line(error: ValueError) -> None:
    assert is_user_facing(error), "a traceback would be shown"
    assert "\n" not in str(error)


def seal(folder: Path) -> None:
    """Write a manifest that fits: who forges a file can forge its hash."""
    (folder / MANIFEST).unlink(missing_ok=True)
    write_manifest(folder)


def add_to_manifest(folder: Path, name: str, file: Path) -> None:
    """Let a manifest name a file, with the length and the hash that it has."""
    manifest = json.loads((folder / MANIFEST).read_text())
    content = file.read_bytes()
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def as_torch_saves(content: object, _: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def as_torch_saved_once(content: object, _: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def as_a_bare_pickle(content: object, _: Path) -> bytes:
    return pickle.dumps(content, protocol=2)  # torch warns of others


def in_place_of_the_original(content: object, original: Path) -> bytes:
    """Return an archive of torch whose tensors are the original's."""
    forged = io.BytesIO()
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            target.writestr(name, pickle.dumps(content, 2) if name.endswith("/data.pkl") else source.read(name))
    return forged.getvalue()


def add_code(folder: Path, sprung: Path, config: str = "config.json") -> None:
    """Let a config name Python code that lies beside it, for all that can be loaded with it."""
    (folder / "code.py").write_text(
        "from pathlib import Path\n"
        "from transformers import BertConfig, BertModel, BertTokenizerFast\n\n"
        f"Path({str(sprung)!r}).touch()\n\n"
        "class Config(BertConfig): pass\nclass Model(BertModel): pass\nclass Tokenizer(BertTokenizerFast): pass\n"
    )
    classes = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoTokenizer": [None, "code.Tokenizer"]}
    classes["AutoModelForSequenceClassification"] = "code.Model"
    written = json.loads((folder / config).read_text())
    (folder / config).write_text(json.dumps({**written, "auto_map": classes}))
