"""Plain values and tensors in a checkpoint: a JSON file, and a safetensors file of the same name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from research.system.safetensors_file import TensorFile, write_tensors
from research.system.sharded_tensors import is_sharded
from research.system.value_codec import decode, encode


class EncodedValues:
    """Values that are ready to be written.

    Args:
        value: plain values and tensors; see `encode`.
        name: name of the files, without suffix.
        tensors: the tensors of parts of the value that are already encoded.
    Raises:
        TypeError: see `encode`.
    """

    def __init__(self, value: Any, name: str, tensors: dict[str, Tensor]) -> None:
        self.name = name
        tensors = dict(tensors)
        self._json = encode(value, "state", tensors)
        self.whole = {key: tensor for key, tensor in tensors.items() if not is_sharded(tensor)}
        """Tensors that this process holds as a whole."""
        self.split = {key: tensor for key, tensor in tensors.items() if is_sharded(tensor)}
        """Tensors of which this process holds a part."""

    def copy_whole(self) -> None:
        """Copy the whole tensors into the memory of the CPU, so that the originals may change."""
        self.whole = {key: tensor.detach().to("cpu", copy=True) for key, tensor in self.whole.items()}

    def write(self, folder: Path) -> None:
        """Write the values into a folder, except for split tensors, which all processes write together."""
        (folder / f"{self.name}.json").write_text(json.dumps(self._json, indent=1), encoding="utf-8")
        write_tensors(folder / f"{self.name}.safetensors", self.whole)


def read_values(folder: Path, name: str, read_other: Callable[[str], Tensor]) -> Any:
    """Return the values that `EncodedValues` wrote.

    Args:
        folder: the folder.
        name: name of the files, without suffix.
        read_other: returns a tensor that is not in the file, by its name.
    Raises:
        OSError, ValueError, SafetensorError: if the files cannot be read, or are damaged.
    """
    with TensorFile(folder / f"{name}.safetensors") as file:
        names = file.names()

        def read(key: str) -> Tensor:
            return file.read(key) if key in names else read_other(key)

        return decode(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")), read)
