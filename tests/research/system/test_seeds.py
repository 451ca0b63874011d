"""Seeds derived from several numbers."""

from __future__ import annotations

from research.system.seeds import derive_seed


def test_derive_seed_depends_on_each_number_and_on_the_order() -> None:
    seeds = [derive_seed(*numbers) for numbers in [(0, 1, 2), (0, 2, 1), (0, 1, 3), (1, 1, 2)]]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_derive_seed_does_not_change_between_versions() -> None:
    assert derive_seed(1, 2) == 1596810411


def test_derive_seed_pads_fewer_than_four_numbers_with_zeros() -> None:
    assert derive_seed(1) == derive_seed(1, 0) == derive_seed(1, 0, 0, 0)
    assert derive_seed(1) not in (derive_seed(0, 1), derive_seed(1, 0, 0, 0, 0))
