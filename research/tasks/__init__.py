"""Tasks (kinds of labels), one file each. Code outside this package never checks which task a run has."""

from research.tasks import multi_label, regression, single_label

__all__ = ["multi_label", "regression", "single_label"]
