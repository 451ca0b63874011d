"""Learning rates that change nothing, because only the head trains."""

from __future__ import annotations

from research.settings.config import RunConfig

ENCODER_RATES = ("lr", "layer_decay")
"""Settings of the encoder's learning rates."""


def only_head_trains(config: RunConfig) -> bool:
    """Return whether the settings alone say that a run trains nothing but a head; edits may unfreeze the encoder."""
    return "encoder" in config.freeze and config.peft is None and not (config.timeline or config.hook)


def encoder_rates_matter(config: RunConfig) -> bool:
    """Return whether any parameter may train with the encoder's learning rates, judged by the settings."""
    return config.head_lr is None or not only_head_trains(config)


def describe_idle_rates(config: RunConfig) -> str | None:
    """Return a warning if the encoder's learning rates were changed but nothing trains with them; otherwise None."""
    changed = [name for name in ENCODER_RATES if getattr(config, name) != getattr(RunConfig(), name)]
    if not changed or encoder_rates_matter(config):
        return None
    what = f"--{changed[0]} changes" if len(changed) == 1 else f"--{' and --'.join(changed)} change"
    return f"{what} nothing, because the encoder is frozen; the head trains with --head_lr {config.head_lr:g}"
