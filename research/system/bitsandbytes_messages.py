"""Messages of the package bitsandbytes, which PEFT imports too if it is installed."""

from __future__ import annotations

import logging


def mute_missing_kernels() -> None:
    """Suppress a warning at the import of bitsandbytes: that a kernel for products with 4-bit weights is not installed.

    Midway does not use such products: it decodes 4-bit weights first.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
