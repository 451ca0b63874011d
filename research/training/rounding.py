"""The library versions and the processor, which determine how numbers are rounded."""

from __future__ import annotations

import torch
import transformers


def rounding_environment(device: torch.device) -> dict[str, str]:
    """Return the library versions and the processor that, besides the settings, determine how numbers are rounded."""
    on_gpu = device.type == "cuda"
    processor = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "transformers": transformers.__version__, "processor": processor}
