"""Errors about non-finite values in evaluations name the first rows."""

from __future__ import annotations

from research.training.nonfinite import NUM_ROWS_SHOWN, describe_nonfinite


def test_describe_nonfinite_names_the_first_rows_and_gives_their_number() -> None:
    few = describe_nonfinite("validation", step=12, ids=[3, 7], num_rows=2000)
    assert all(part in few for part in ("validation", "step 12", "2 of 2,000", "rows 3, 7,"))
    many = describe_nonfinite("test", step=0, ids=range(100, 100 + NUM_ROWS_SHOWN + 1), num_rows=200)
    assert f"{100 + NUM_ROWS_SHOWN - 1}, ..." in many
    assert str(100 + NUM_ROWS_SHOWN) not in many
