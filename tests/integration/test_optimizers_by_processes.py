"""Every optimizer trains the same on two processes as on one, and keeps the replicas equal."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from research.learning.optimizers.base import OPTIMIZERS
from tests.conftest import ROOT, Launch, why_not_sharded
from tests.launched.runs_in_process import read_by_rank
from tests.shipped import shipped_names

SCRIPT = ROOT / "tests" / "launched" / "optimizers_by_processes.py"
LAUNCHES: dict[str, tuple[int, list[str]]] = {"1": (1, []), "2": (2, []), "2-split": (2, ["--shard", "fsdp2"])}
"""Number of processes and options of each launch of the script."""
NAMES = shipped_names(OPTIMIZERS)


@pytest.fixture(scope="module")
def results_folder(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder with the results of the script on one and on two processes, and with split parameters on two."""
    folder = tmp_path_factory.mktemp("optimizers")
    for launch_name, (num_processes, options) in LAUNCHES.items():
        if options and why_not_sharded() is not None:
            continue  # the tests that would read the results are skipped
        folders = ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", folder / launch_name]
        launch([*folders, *options], num_processes=num_processes, script=str(SCRIPT))
    return folder


@pytest.mark.parametrize("which", ["2", pytest.param("2-split", marks=pytest.mark.sharding)])
@pytest.mark.parametrize("name", NAMES)
def test_optimizer_has_equal_replicas_and_the_results_of_one_process(
    results_folder: Path, name: str, which: str
) -> None:
    (single,), (first, second) = (read_by_rank(results_folder / each, LAUNCHES[each][0]) for each in ("1", which))
    assert first[name] == second[name], "the replicas differ"
    assert first[name]["edits"] == single[name]["edits"] == 3
    # Gradients are rounded differently on two processes. Most optimizers enlarge the difference where a gradient is
    # almost 0, so the changes of all weights are compared as a whole.
    initial, one, two = (
        load_file(results_folder / f"{file}.safetensors") for file in ("1-initial", f"1-{name}", f"{which}-{name}")
    )
    # A bias of the attention's keys shifts all scores of a query equally, so its gradient is only a rounding error.
    # Lion follows the sign of the gradient, however small it is.
    one = {key: values for key, values in one.items() if not key.endswith("attention.self.key.bias")}
    difference = sum(float((one[key] - two[key]).square().sum()) for key in one) ** 0.5
    change = sum(float((one[key] - initial[key]).square().sum()) for key in one if key in initial) ** 0.5
    assert change > 0
    assert difference < 0.02 * change
