"""Tasks (kinds of labels), one file each. No other code depends on which task a run has."""

from research.tasks import multi_label, regression, single_label

__all__ = ["multi_label", "regression", "single_label"]
