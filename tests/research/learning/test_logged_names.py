"""Names under which hooks may log values."""

from __future__ import annotations

import pytest

from research.learning.logged_names import RESERVED_NAMES, check_reserved_names


@pytest.mark.parametrize("name", [*RESERVED_NAMES, "learning_rate/head"])
def test_check_reserved_names_rejects_names_that_the_run_itself_logs(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        check_reserved_names(["mine", name])


def test_check_reserved_names_accepts_names_that_are_not_reserved() -> None:
    check_reserved_names(["mine", "learning_rates", "losses"])
