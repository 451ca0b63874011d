"""The error of the audit, and its messages."""

from __future__ import annotations

from collections.abc import Sequence

MAX_LISTED = 5
"""Largest number of names in a message, which counts the rest."""


class AuditError(ValueError):
    """The run would not train what it reports to train, usually because of an edit or a hook."""


def raise_if(rule: str, violations: Sequence[str]) -> None:
    """Raise an error if there are violations of a rule.

    Args:
        rule: the rule, as in "every parameter must be in exactly one optimizer group".
        violations: descriptions of the violations.
    Raises:
        AuditError: if there are any; lists the first of them, and counts the rest.
    """
    if violations:
        more = f"; and {len(violations) - MAX_LISTED} more" if len(violations) > MAX_LISTED else ""
        raise AuditError(f"Audit: {rule}; {'; '.join(violations[:MAX_LISTED])}{more}.")
