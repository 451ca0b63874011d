"""Draw the examples of an epoch with chosen shares of the labels."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from research import RunConfig, run_experiment
from research.data.batches.order import split_batch
from research.data.batches.sampling import draw_rows
from research.data.batches.train_rows import PreparedRows
from research.settings.config import Sampling

LABELS = np.array([2] * 64 + [0] * 16 + [1] * 4)
"""Labels of 84 rows: 16, 4 and 64 rows of the labels 0, 1 and 2."""


@pytest.mark.parametrize(
    ("sampling", "expected"),
    # The square roots 4, 2 and 8 give shares of 2/7, 1/7 and 4/7 of 84.
    [("balanced", {0: 28, 1: 28, 2: 28}), ("square_root", {0: 24, 1: 12, 2: 48})],
)
def test_draw_rows_gives_labels_their_shares_and_repeats_rows_evenly(
    sampling: Sampling, expected: dict[int, int]
) -> None:
    rows = draw_rows(LABELS, sampling, seed=0, epoch=0)
    assert Counter(LABELS[rows].tolist()) == expected
    times_drawn = np.bincount(rows, minlength=len(LABELS))
    for label in range(3):
        assert np.ptp(times_drawn[label == LABELS]) <= 1
    next_rows = draw_rows(LABELS, sampling, seed=0, epoch=1)
    assert set(rows[LABELS[rows] == 2]) != set(next_rows[LABELS[next_rows] == 2])


def test_sampled_order_depends_only_on_seed_and_epoch() -> None:
    rows = Dataset.from_dict({"label": LABELS, "length": np.arange(len(LABELS)) % 7})
    prepared = PreparedRows(rows, "balanced")

    def order(seed: int, epoch: int, start: int = 0) -> list[list[int]]:
        return [batch.tolist() for batch in prepared.global_batches(16, seed, epoch, start=start, stop=6)]

    first = order(3, 0)
    assert [len(batch) for batch in first] == [16] * 5 + [4]
    assert Counter(LABELS[np.concatenate(first)].tolist()) == {0: 28, 1: 28, 2: 28}
    assert first == order(3, 0)
    assert first[4:] == order(3, 0, start=4)
    assert first not in (order(3, 1), order(4, 0))
    for num_processes in (1, 2, 3):
        shares = [split_batch(np.array(first[0]), process, num_processes, 16) for process in range(num_processes)]
        real = [row for share in shares for part in share for row in part.rows[part.weights > 0]]
        assert sorted(real) == sorted(first[0])


def test_sampling_needs_one_label_per_row(tiny_encoder: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("text,label\n" + "".join(f"film number {row},{row / 7:.2f}\n" for row in range(40)))
    config = RunConfig(
        encoder=str(tiny_encoder),
        data=str(scores),
        task="regression",
        sampling="balanced",
        output_dir=str(tmp_path / "run"),
    )
    with pytest.raises(ValueError, match=r"sampling.*balanced.* one label per row.* regression"):
        run_experiment(config)
