"""Every optimizer trains the same on two processes as on one, and keeps the replicas equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from research.learning.optimizers.base import OPTIMIZERS
from tests.conftest import ROOT, Launch
from tests.launched.runs_in_process import read_by_rank
from tests.shipped import shipped_names

SCRIPT = ROOT / "tests" / "launched" / "optimizers_by_processes.py"
NAMES = shipped_names(OPTIMIZERS)


@pytest.fixture(scope="module")
def results_folder(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with the results of the script on one and on two processes."""
    folder = tmp_path_factory.mktemp("optimizers")
    for num_processes in (1, 2):
        options = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", folder / str(num_processes)]
        launch(options, num_processes=num_processes, script=str(SCRIPT))
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_optimizer_has_equal_replicas_and_the_results_of_one_process(results_folder: Path, name: str) -> None:
    (single,), (first, second) = (read_by_rank(results_folder / str(number), number) for number in (1, 2))
    assert first[name] == second[name], "the replicas differ"
    assert first[name]["edits"] == single[name]["edits"] == 3
    # Gradients are rounded differently on two processes. Most optimizers enlarge the difference where a gradient is
    # almost 0, so the changes of all weights are compared as a whole.
    initial, one, two = (
        load_file(results_folder / f"{which}.safetensors") for which in ("1-initial", f"1-{name}", f"2-{name}")
    )
    difference = sum(float((one[key] - two[key]).square().sum()) for key in one) ** 0.5
    change = sum(float((one[key] - initial[key]).square().sum()) for key in one if key in initial) ** 0.5
    assert change > 0
    assert difference < 0.02 * change
