"""Kinds of labels, one file each. Code that depends on the kind of labels is only in these files."""

from research.tasks import multi_label, regression, single_label

__all__ = ["multi_label", "regression", "single_label"]
