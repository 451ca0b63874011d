"""Check that the libraries for ONNX are installed, without importing them."""

from __future__ import annotations

import importlib.util

LIBRARIES = ("onnx", "onnxruntime", "onnxscript")


def check_onnx_libraries() -> None:
    """Check that the libraries for an export are installed.

    Raises:
        ValueError: if one is missing; the message contains the command that installs it.
    """
    for library in LIBRARIES:
        if importlib.util.find_spec(library) is None:
            raise ValueError(
                f'Exporting to ONNX requires the package {library}; install it with: pip install "midway[onnx]"'
            )
