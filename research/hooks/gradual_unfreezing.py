"""Unfreeze the encoder from the top, one layer after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from research.settings.config import RunConfig
from research.settings.times import parse_time
from research.training.hook import Hook, register_hook


@register_hook("gradual_unfreezing")
class GradualUnfreezing(Hook):
    """Train the head first, then one more layer from the top at a time, the embeddings last.

    Source: Howard & Ruder 2018, ULMFiT, section 3.3. Differs: at any time, not after whole epochs only.

    Args:
        over: time until everything trains; each part waits equally long for the next.
    """

    def __init__(self, *, over: str = "50%") -> None:
        self.over = parse_time(over)
        if self.over.value == 0:
            raise ValueError(f"Expected over to be a time above 0, got '{over}'.")

    def timeline(self, config: RunConfig, blocks: Sequence[str]) -> list[dict[str, Any]]:
        """Plan the unfreezing."""
        if config.peft is not None:
            raise ValueError(
                "The hook 'gradual_unfreezing' unfreezes the encoder itself, beside which --peft trains adapters; "
                "leave one of them out."
            )
        layers = [block for block in blocks if block.startswith("layer.")]
        # A slice of an only layer would be refused where that one is shared (ALBERT).
        parts = [f"encoder.layer[-{number}]" for number in range(1, len(layers) + 1)] if len(layers) > 1 else []
        parts.append("encoder")
        times = [self.over.share(number, len(parts)) for number in range(1, len(parts) + 1)]
        return [
            {"at": "0%", "freeze": "encoder"},
            *({"at": str(time), "unfreeze": part} for time, part in zip(times, parts, strict=True)),
        ]
