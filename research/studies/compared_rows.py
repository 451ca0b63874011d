"""Which settings decide on which rows the trials of a study are compared."""

from __future__ import annotations

from research.settings.declarations import Effect, Stage
from research.settings.flags import names_where

_OTHER_TEXTS = {"text_column", "text_pair_column", "columns", "cleaning", "encoding", "allow_unknown_tokens"}
"""Settings that change texts, but neither the rows nor their labels."""
_OTHER_TRAINING_ROWS = {"limit_train", "streaming"}
"""Settings that change only what the training rows are."""
_OTHER_SPLIT = {"validation": {"limit_test"}, "test": {"limit_validation", "validation_share"}}
"""By the compared split: settings that change only the other split."""
_PAIRED = {"fold"}
"""Settings that are equal in the trials that are compared."""


def row_settings(split: str) -> list[str]:
    """Return the names of the settings that decide which rows a split has, and which labels these rows have.

    Args:
        split: the compared split, validation or test.
    """
    names = names_where(lambda declared: declared.effect is Effect.ROWS and declared.affects(Stage.ROWS))
    harmless = _OTHER_TEXTS | _OTHER_TRAINING_ROWS | _OTHER_SPLIT[split] | _PAIRED
    return [name for name in names if name not in harmless]
