"""Expected validation performance of a search, as a function of its budget.

Source: Dodge et al. 2019, Show Your Work: Improved Reporting of Experimental Results, eq. 7. Differs: for a metric of
which lower values are better, the minimum takes the place of the maximum.
"""

from __future__ import annotations

from collections.abc import Sequence


def expected_best(values: Sequence[float], *, higher_is_better: bool = True) -> list[float]:
    """Return the expected best of n values drawn with replacement, for n from 1 to the number of values.

    The estimate assumes that the configurations were drawn independently of each other, as in random search.

    Args:
        values: validation metric of each configuration.
        higher_is_better: whether the best value is the highest.
    """
    ordered = sorted(values, reverse=not higher_is_better)
    count = len(ordered)
    return [
        sum(
            value * (((index + 1) / count) ** num_drawn - (index / count) ** num_drawn)
            for index, value in enumerate(ordered)
        )
        for num_drawn in range(1, count + 1)
    ]
