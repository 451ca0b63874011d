"""Data preparation holds one batch of rows in memory, not all rows."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import ROOT


def test_memory_does_not_grow_with_the_number_of_rows() -> None:
    command = [sys.executable, "experiments/benchmarks/memory.py", "--rows", "6000", "12000", "--words", "400"]
    # Make the packages importable, as an editable install does.
    completed = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    small, large = (
        [float(cell) for cell in line.replace(",", "").split("|")[1:-1]] for line in completed.stdout.splitlines()[2:]
    )
    # Counted from 0, column 1 is the size of the data file, column 5 the growth of memory in preparation, both in MiB.
    file_growth, peak_growth = large[1] - small[1], large[5] - small[5]
    assert file_growth > 10
    assert peak_growth < file_growth / 2
