"""Tasks (kinds of labels), one file each. No other code depends on the kind of labels."""

from research.tasks import multi_label, regression, single_label

__all__ = ["multi_label", "regression", "single_label"]
