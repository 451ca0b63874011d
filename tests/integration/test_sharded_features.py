"""With --shard, runs with cached hidden states give the results of runs without a cache, and use the same entries."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, Launch
from tests.launched.cached_by_processes import CHANGES
from tests.launched.runs_in_process import read_by_rank

pytestmark = pytest.mark.sharding
SCRIPT = ROOT / "tests" / "launched" / "cached_by_processes.py"
SPLITS = ["train", "validation", "test"]
PAIRS = ["bf16", "unfreeze", "reinitialize", "replace_head"]
"""Scenarios with and without the cache."""
SCENARIOS = [
    *("uncached", "cached", "cached again", "compiled", "full disk", "own caches", "copies"),
    *(f"{name}, {kind}" for name in PAIRS for kind in ("uncached", "cached")),
    *("scale, cached", "redraw, cached"),
]
Results = list[dict[str, Any]]


@pytest.fixture(scope="module")
def options(tiny_encoder: Path, tiny_reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Flags of the script."""
    output = tmp_path_factory.mktemp("features") / "results"
    return ["--encoder", tiny_encoder, "--data", tiny_reviews, "--output", output]


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def results(request: pytest.FixtureRequest, launch: Launch, options: list[Any]) -> Results:
    """The results of all scenarios on each process."""
    output = options[-1]
    shutil.rmtree(output.parent)  # of another number of processes
    output.parent.mkdir()
    launch(
        [*options, "--shard", "fsdp2", "--scenarios", ";".join(SCENARIOS)],
        num_processes=request.param,
        script=str(SCRIPT),
    )
    return read_by_rank(output, request.param)


@pytest.mark.parametrize(
    ("cached", "uncached"),
    [
        *((name, "uncached") for name in ("cached", "cached again", "compiled", "full disk", "own caches", "copies")),
        *((f"{name}, cached", f"{name}, uncached") for name in PAIRS),
    ],
)
def test_cached_run_has_the_same_losses_and_logits(results: Results, cached: str, uncached: str) -> None:
    for process in results:
        assert not process[uncached]["cached"]
        assert len(process[cached]["losses"]) == 12
        assert np.abs(np.subtract(process[cached]["losses"], process[uncached]["losses"])).max() < 1e-6
        assert np.abs(np.subtract(process[cached]["logits"], process[uncached]["logits"])).max() < 1e-6
        assert process[cached]["hash"] == results[0][cached]["hash"]


def test_one_process_stores_what_all_compute(results: Results) -> None:
    computed = {
        name: [process[name]["computed_splits"] for process in results]
        for name in ("cached", "cached again", "own caches", "full disk")
    }
    others: list[list[str]] = [[] for _ in results[1:]]
    assert computed["cached"] == [SPLITS, *others]
    assert computed["cached again"] == [[], *others]
    assert computed["own caches"] == [SPLITS for _ in results]
    assert computed["full disk"] == [SPLITS[:1], *others]
    assert results[0]["full disk"]["entries"] == {}
    assert not any(process["full disk"]["cached"] for process in results)


@pytest.mark.parametrize("change", ["unfreeze", "reinitialize", "scale", "redraw", "replace_head"])
def test_run_stops_using_the_cache_exactly_if_the_encoder_changes(results: Results, change: str) -> None:
    assert change in CHANGES
    expected = change == "replace_head"
    assert [process[f"{change}, cached"]["cached"] for process in results] == [expected for _ in results]


def test_entries_are_those_of_one_process_without_splitting(
    results: Results, launch: Launch, options: list[Any]
) -> None:
    launch([*options, "--scenarios", "cached;new cache"], script=str(SCRIPT))
    (alone,) = read_by_rank(options[-1], 1)
    assert alone["cached"]["cached"]
    assert alone["cached"]["computed_splits"] == []
    assert alone["new cache"]["computed_splits"] == SPLITS
    expected = alone["new cache"]["entries"]
    assert len(expected) == len(SPLITS)
    for process in results:
        for name in ("cached", "compiled", "own caches", "copies"):
            assert process[name]["entries"] == expected
        # The layers compute in bf16.
        bf16 = process["bf16, cached"]["entries"]
        assert len(bf16) == len(SPLITS)
        assert not bf16.keys() & expected.keys()


def test_error_on_one_process_ends_all(launch: Launch, options: list[Any]) -> None:
    failed = launch(
        [*options, "--shard", "fsdp2", "--scenarios", "failure"],
        num_processes=2,
        script=str(SCRIPT),
        check=False,
        timeout=120,
    )
    assert failed.returncode == 1
    assert "RuntimeError: this process fails" in failed.stderr
    assert not list((options[-1].parent / "failure").glob("features-*"))


def test_continued_run_ends_with_the_same_bits_and_computes_nothing_again(
    launch: Launch, tiny_encoder: Path, tiny_reviews: Path, tmp_path: Path
) -> None:
    whole, resumed, fork = (tmp_path / name for name in ("whole", "resumed", "fork"))
    # The length is one that no other test uses, so that the session's cache has no hidden states.
    flags = [
        *("--encoder", tiny_encoder, "--data", tiny_reviews, "--max_length", "29", "--batch_size", "8"),
        *("--epochs", "2", "--save_every", "4st", "--keep", "9", "--evaluate_every", "4st"),
        *("--best_metric", "loss", "--mixed_precision", "no", "--report", "false", "--num_threads", "1"),
        *("--timeline", "{at: 6st, replace_head: mean}"),
    ]
    split = [*flags, "--shard", "fsdp2", "--freeze", "encoder"]
    first = launch([*split, "--output_dir", whole], num_processes=2)
    assert first.stdout.count("Storing the hidden states") == len(SPLITS)
    assert "its hidden states are read from" in first.stdout
    shutil.copytree(whole, resumed)
    (resumed / "result.json").unlink()
    for checkpoint in ("step-00000008", "step-00000012"):
        shutil.rmtree(resumed / "checkpoints" / checkpoint)
    second = launch([*split, "--output_dir", resumed, "--resume", "auto"], num_processes=2)
    # A fork without splitting, on one process. The encoder stays frozen.
    third = launch([*flags, "--output_dir", fork, "--fork", f"{whole}@step-4"])
    assert "Storing" not in second.stdout + third.stdout
    assert "these hidden states were computed again" not in second.stdout + third.stdout
    results = [json.loads((folder / "result.json").read_text()) for folder in (whole, resumed, fork)]
    assert [result["cached_features"] for result in results] == [True, True, True]
    assert results[1]["resumed_from"] == "step-00000004"
    assert results[1]["weights_sha256"] == results[0]["weights_sha256"]
    assert results[1]["metrics"] == results[0]["metrics"]
