"""Check the settings of streamed training rows."""

from __future__ import annotations

import dataclasses

from research.settings.config import RunConfig

_NEED_ALL_ROWS = {
    "limit_train": "a stratified sample needs the labels of all training rows. Use --max_steps to train on fewer rows",
    "sampling": "the labels of all training rows must be known",
    "validation_share": "splitting off validation rows needs all training rows. Write them to a file of their own",
    "test_share": "splitting off test rows needs all training rows. Write them to a file of their own",
    "folds": "the training rows would have to be divided",
    "group_column": "no rows are split off",
    "unseen_labels": "whether a label is unseen depends on all training rows. Use --bad_rows skip to skip such rows",
}
"""Settings that need all training rows, each with the reason and what to do instead."""


def check_streaming(config: RunConfig) -> None:
    """Check that no setting needs all training rows if they are streamed, and that none is without effect if not.

    Raises:
        ValueError: if one does; names the setting.
    """
    defaults = {item.name: item.default for item in dataclasses.fields(RunConfig)}
    if not config.streaming:
        if config.shuffle_buffer != defaults["shuffle_buffer"]:
            raise ValueError(
                f"--shuffle_buffer {config.shuffle_buffer} has no effect without --streaming. Omit it, or set "
                "--streaming true."
            )
        return
    for name, reason in _NEED_ALL_ROWS.items():
        if getattr(config, name) != defaults[name]:
            raise ValueError(f"--{name} cannot be combined with --streaming: {reason}.")
    if config.cache_features:
        raise ValueError(
            "--cache_features true cannot be combined with --streaming, since hidden states of all rows would be "
            "stored. Omit one of the two."
        )
