"""Settings that a study varies although they change nothing."""

from __future__ import annotations

from collections.abc import Sequence

from research.learning.idle_rates import ENCODER_RATES, encoder_rates_matter
from research.settings.config import RunConfig


def check_effects(configs: Sequence[RunConfig]) -> None:
    """Check that a study does not vary the encoder's learning rate if only the head trains.

    Raises:
        ValueError: if it does, so that its trials would compare a setting without any effect.
    """
    names = [name for name in ENCODER_RATES if len({getattr(config, name) for config in configs}) > 1]
    if names and not any(map(encoder_rates_matter, configs)):
        raise ValueError(
            f"The study varies {' and '.join(names)}, but this changes nothing: the encoder is frozen in all trials, "
            f"and the head trains with --head_lr {configs[0].head_lr:g}. Vary head_lr instead, or pass --head_lr null, "
            "so that the head trains with --lr."
        )
