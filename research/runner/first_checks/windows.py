"""Check the settings of windows."""

from __future__ import annotations

import dataclasses

from research.settings.config import RunConfig

_SETTINGS_OF_WINDOWS = ("window", "stride", "max_windows", "train_windows", "window_batch_size")


def check_windows(config: RunConfig) -> None:
    """Check that the settings of windows do not contradict each other or the length of inputs.

    Raises:
        ValueError: if they do; names the settings.
    """
    if config.long_texts == "truncate":
        defaults = {item.name: item.default for item in dataclasses.fields(RunConfig)}
        for name in _SETTINGS_OF_WINDOWS:
            if getattr(config, name) != defaults[name]:
                raise ValueError(
                    f"--{name} {getattr(config, name)} has no effect with --long_texts truncate. Omit it, or set "
                    "--long_texts windows."
                )
        return
    if config.window is not None and config.max_length not in (config.window, RunConfig().max_length):
        raise ValueError(
            f"--window {config.window} and --max_length {config.max_length} both set the length of the encoder's "
            "inputs. Omit one of the two."
        )
    assert config.window_stride is not None
    if config.window_stride > config.input_length:
        raise ValueError(
            f"Expected --stride to be at most the length of a window, {config.input_length} tokens; got "
            f"{config.window_stride}. A larger stride would skip tokens."
        )
    if config.train_windows is not None and config.train_windows >= config.max_windows:
        raise ValueError(
            f"Expected --train_windows to be less than --max_windows {config.max_windows}; got {config.train_windows}. "
            "Omit it to train on all windows."
        )
    if config.train_windows is not None and config.cache_features:
        raise ValueError(
            "--cache_features true cannot be combined with --train_windows, which chooses other windows in every "
            "epoch. Omit one of the two."
        )
    if config.compile:
        raise ValueError(
            "--compile does not work with --long_texts windows, because every batch has another number of windows. "
            "Omit one of the two."
        )
