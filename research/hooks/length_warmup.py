"""Start training with short inputs, and increase their length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from research.settings.config import RunConfig
from research.settings.times import parse_time
from research.training.hook import Hook, register_hook

MULTIPLE = 8
"""Lengths are multiples of this many tokens."""


@register_hook("length_warmup")
class LengthWarmup(Hook):
    """Start with truncated training inputs, and increase their maximum length to --max_length in equal stages.

    The order of the rows does not change. Lengths are multiples of 8 tokens, except --max_length itself. This hook does
    not work with `--long_texts windows`.

    Source: Li, Zhang & He 2022, The Stability-Efficiency Dilemma: Investigating Sequence Length Warmup for Training GPT
    Models, section 4.

    Args:
        start: maximum length at the start, in tokens.
        over: time until --max_length is reached, such as `50%`.
        num_stages: number of stages before --max_length is reached.
    """

    works_with_windows = False

    def __init__(self, *, start: int = 64, over: str = "50%", num_stages: int = 8) -> None:
        self.start = start
        self.over = parse_time(over)
        self.num_stages = num_stages
        if num_stages < 1 or start < MULTIPLE:
            raise ValueError(
                f"Expected num_stages of 1 or more and a start of {MULTIPLE} or more, got {num_stages} and {start}."
            )

    def timeline(self, config: RunConfig, blocks: Sequence[str]) -> list[dict[str, Any]]:
        """Return an entry for each change of the length."""
        end = config.max_length
        start = min(self.start, end // 2) if config.smoke else self.start  # smoke runs have a short --max_length
        if start >= end:
            raise ValueError(
                f"Expected the hook 'length_warmup' to start below --max_length {end}, got a start of {start}."
            )
        lengths = [
            min(end, round((start + (end - start) * stage / self.num_stages) / MULTIPLE) * MULTIPLE)
            for stage in range(self.num_stages)
        ]
        times = [self.over.fraction(stage, self.num_stages) for stage in range(self.num_stages + 1)]
        return [
            {"at": str(time), "set_max_length": length}
            for time, length, previous in zip(times, [*lengths, end], [None, *lengths], strict=True)
            if length != previous
        ]
