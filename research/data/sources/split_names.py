"""Names and numbers of the three splits."""

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLIT_NAMES = ("train", "validation", "test")
"""By number."""
