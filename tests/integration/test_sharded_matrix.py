"""Every edit has the same effect with split parameters as on one process, also right after an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.builders.tiny_decoder import save_tiny_decoder
from tests.conftest import ROOT, Launch, write_tiny_encoder
from tests.launched.edit_matrix import CASES
from tests.launched.runs_in_process import read_by_rank
from tests.launched.sharded_matrix import HEADS

pytestmark = pytest.mark.sharding
SCRIPT = ROOT / "tests" / "launched" / "sharded_matrix.py"
QUICK_EDITS = ("freeze", "unfreeze", "replace_head", "reinitialize", "drop_layers", "set_optimizer", "merge_adapters")
"""Edits of `make test`: one for each way in which edits act on split parameters. All edits are slow tests."""
TOLERANCES = {"no": 1e-6, "bf16": 2e-3}
"""Largest difference of a parameter from one process, by precision. bf16 has 8 bits: two processes with DDP differ from
one by up to 5e-4, and layers that gather bf16 parameters (see --shard_precision) by up to 1.6e-3, with the head max."""


class Matrix:
    """The results of the script, by the number of processes.

    Args:
        launch: starts the script.
        folder: folder for the results, which also contains the encoders.
        options: flags of the script, in addition to folders and number of processes.
        num_processes: the numbers of processes.
    """

    def __init__(self, launch: Launch, folder: Path, options: list[Any], num_processes: tuple[int, ...]) -> None:
        self.results: dict[int, list[dict[str, Any]]] = {}
        self.weights: dict[int, dict[str, torch.Tensor]] = {}
        for number in num_processes:
            output = folder / str(number)
            launch([*options, "--output", output], num_processes=number, script=str(SCRIPT), timeout=3600)
            self.results[number] = read_by_rank(output, number)
            self.weights[number] = load_file(f"{output}-weights.0.safetensors")

    def check(self, number: int, edit: str, precision: str, shard: str) -> None:
        """Check the cells of an edit: their weights, on all processes and from run to run, and the optimizer."""
        for evaluated in ("evaluated", "not"):
            cell = f"{edit}-{precision}-{shard}-{evaluated}"
            outcomes = [results[cell] for results in self.results[number]]
            assert not any("error" in outcome for outcome in outcomes), outcomes[0]
            assert all(outcome["covered"] for outcome in outcomes), "the optimizer does not have each parameter once"
            assert len({digest for outcome in outcomes for digest in outcome["hashes"]}) == 1
            expected = self._weights(1, f"{edit}-{precision}-none-{evaluated}")
            found = self._weights(number, cell)
            assert found.keys() == expected.keys()
            for name, weight in expected.items():
                assert (found[name] - weight).abs().max() <= TOLERANCES[precision], name

    def _weights(self, number: int, cell: str) -> dict[str, torch.Tensor]:
        prefix = f"{cell}|"
        weights = self.weights[number]
        return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def folders(tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A folder for results, and the flags of the script that name encoders and data."""
    folder = tmp_path_factory.mktemp("matrix")
    write_tiny_encoder(folder / "encoder", num_layers=3)  # the head last4 reads four hidden states per token
    decoder = save_tiny_decoder(folder / "decoder")
    return folder, ["--encoder", folder / "encoder", "--decoder", decoder, "--data", tiny_reviews]


@pytest.fixture(scope="module")
def quick_matrix(launch: Launch, folders: tuple[Path, list[Any]]) -> Matrix:
    """Results of a few edits in float32."""
    folder, options = folders
    options = [*options, "--edits", ",".join(QUICK_EDITS), "--precisions", "no"]
    matrix = Matrix(launch, folder, [*options, "--shards", "none"], (1,))
    split = Matrix(launch, folder, [*options, "--shards", "fsdp2"], (2,))
    matrix.results |= split.results
    matrix.weights |= split.weights
    return matrix


@pytest.fixture(scope="module")
def whole_matrix(launch: Launch, folders: tuple[Path, list[Any]]) -> Matrix:
    """Results of all edits, each run twice."""
    folder, options = folders
    return Matrix(launch, folder, [*options, "--repeats", "2"], (1, 2, 3))


@pytest.mark.parametrize("edit", QUICK_EDITS)
def test_edit_of_split_parameters_has_the_result_of_one_process(quick_matrix: Matrix, edit: str) -> None:
    quick_matrix.check(2, edit, "no", "fsdp2")


@pytest.mark.slow  # 25 minutes in all
@pytest.mark.parametrize("shard", ["none", "fsdp2"])
@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("edit", [*CASES, *HEADS])
def test_every_edit_and_head_has_the_result_of_one_process(
    whole_matrix: Matrix, edit: str, number: int, precision: str, shard: str
) -> None:
    whole_matrix.check(number, edit, precision, shard)
