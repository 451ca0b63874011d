"""Learning rates that change nothing, because only the head trains."""

from __future__ import annotations

from research.settings.config import RunConfig

ENCODER_RATES = ("lr", "layer_decay")
"""Settings of the encoder's learning rates."""


def encoder_rates_matter(config: RunConfig) -> bool:
    """Return whether any parameter may train with the encoder's learning rates, judged by the settings."""
    return (
        "encoder" not in config.freeze
        or config.head_lr is None
        or config.peft is not None
        or bool(config.timeline or config.hook)  # may unfreeze the encoder
    )


def describe_idle_rates(config: RunConfig) -> str | None:
    """Return a warning if the encoder's learning rates were changed but nothing trains with them; otherwise None."""
    changed = [name for name in ENCODER_RATES if getattr(config, name) != getattr(RunConfig(), name)]
    if not changed or encoder_rates_matter(config):
        return None
    what = f"--{changed[0]} changes" if len(changed) == 1 else f"--{' and --'.join(changed)} change"
    return f"{what} nothing, because the encoder is frozen; the head trains with --head_lr {config.head_lr:g}"
