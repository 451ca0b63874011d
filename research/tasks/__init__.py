"""Kinds of labels, one file each. Only these files depend on the kind of labels."""

from research.tasks import multi_label, regression, single_label

__all__ = ["multi_label", "regression", "single_label"]
