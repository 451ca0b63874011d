"""What rounds numbers: libraries and processor."""

from __future__ import annotations

import torch
import transformers


def rounding_environment(device: torch.device) -> dict[str, str]:
    """Return what decides how a model's numbers are rounded on a device, beside the settings."""
    on_gpu = device.type == "cuda"
    processor = torch.cuda.get_device_name(device) if on_gpu else torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "transformers": transformers.__version__, "processor": processor}
