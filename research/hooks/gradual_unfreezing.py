"""Unfreeze the encoder layer by layer, starting at the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from research.settings.config import RunConfig
from research.settings.times import parse_time
from research.training.hook import Hook, register_hook


@register_hook("gradual_unfreezing")
class GradualUnfreezing(Hook):
    """Train the head first, then unfreeze one encoder layer at a time from the top down, the embeddings last.

    Source: Howard & Ruder 2018, ULMFiT, section 3.3. Differs: layers are unfrozen at any step, not only between epochs.

    Args:
        over: time until the whole encoder is unfrozen, such as `50%`. Layers are unfrozen at equal intervals.
    """

    def __init__(self, *, over: str = "50%") -> None:
        self.over = parse_time(over)
        if self.over.value == 0:
            raise ValueError(f"Expected the option 'over' to be a time above 0, got '{over}'.")

    def timeline(self, config: RunConfig, blocks: Sequence[str]) -> list[dict[str, Any]]:
        """Return an entry that freezes the encoder, and one for each part that is unfrozen."""
        if config.peft is not None:
            raise ValueError(
                "The hook 'gradual_unfreezing' unfreezes the encoder's weights, while --peft keeps them frozen and "
                "trains adapters. Remove one of them."
            )
        layers = [block for block in blocks if block.startswith("layer.")]
        # An encoder with a single layer is unfrozen as a whole. Its layer is not selected by number, since that would
        # be an error if the layer is shared (ALBERT).
        parts = [f"encoder.layer[-{number}]" for number in range(1, len(layers) + 1)] if len(layers) > 1 else []
        parts.append("encoder")
        times = [self.over.fraction(number, len(parts)) for number in range(1, len(parts) + 1)]
        return [
            {"at": "0%", "freeze": "encoder"},
            *({"at": str(time), "unfreeze": part} for time, part in zip(times, parts, strict=True)),
        ]
