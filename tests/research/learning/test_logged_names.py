"""Names that hooks may log values under."""

from __future__ import annotations

import pytest

from research.learning.logged_names import LOGGED_ANYWAY, check_reserved_names


@pytest.mark.parametrize("name", [*LOGGED_ANYWAY, "learning_rate/head"])
def test_names_of_the_run_itself_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        check_reserved_names(["mine", name])


def test_other_names_are_taken() -> None:
    check_reserved_names(["mine", "learning_rates", "losses"])
