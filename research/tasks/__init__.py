"""Kinds of labels, one file each: what depends on the kind is there and nowhere else."""

from research.tasks import multi_label, regression, single_label

__all__ = ["multi_label", "regression", "single_label"]
