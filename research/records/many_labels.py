"""From how many labels on results are shown in another way."""

MANY_LABELS = 40
"""Number of labels from which on there is no confusion matrix: its cells would be too small to read."""
