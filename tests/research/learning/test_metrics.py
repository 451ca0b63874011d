"""Metrics through `evaluate`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from research.learning.metrics import compute_metrics
from research.tasks.base import TASKS
from tests.conftest import Started
from tests.shipped import shipped


@pytest.mark.parametrize("problem_type", shipped(TASKS))
def test_metrics_are_the_tasks_own(problem_type: str) -> None:
    task = TASKS[problem_type](("a", "b"), (1, 1), 2)
    logits = np.array([[1.0, -1.0], [-2.0, 3.0], [0.5, 0.0]])
    labels = task.label_array([[0], [1], [1]] if task.several_per_row else [0, 1, 1])
    assert compute_metrics(task, logits, labels) == task.compute_metrics(logits, labels)


def test_metrics_are_computed_in_two_processes_at_once(tmp_path: Path) -> None:
    script = tmp_path / "score.py"
    script.write_text(
        "import numpy as np; from research.tasks.single_label import SingleLabel\n"
        "from research.learning.metrics import compute_metrics\n"
        "task = SingleLabel(('a', 'b'), (1, 1), 2)\n"
        "for _ in range(20): compute_metrics(task, np.eye(2), np.arange(2))"
    )
    outputs = [tmp_path / f"printed-{number}.txt" for number in (0, 1)]
    processes = [Started([sys.executable, str(script)], tmp_path, dict(os.environ), output) for output in outputs]
    assert [process.end() for process in processes] == [0, 0], [process.printed() for process in processes]
