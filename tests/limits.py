"""The one time limit of the tests: a guard against hanging, far above what the slowest machine needs."""

HANG_LIMIT = 1800.0
"""Seconds after which a command or a wait counts as hanging. Whether a test passes must not depend on the machine."""
