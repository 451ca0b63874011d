"""The number of labels from which results are shown in a compact form."""

MANY_LABELS = 40
"""With this many labels or more, tables of labels are collapsed and show the worst labels first. No confusion matrix is
drawn, because its cells would be too small to read."""
