"""Tests of benchmarks/gpu.py, which measures Midway on a GPU. The whole script runs on the CPU, with a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpu import ARMS, Size, find_peak, flops_per_step, format_ratio, format_tables
from tests.conftest import Launch

SIZE = {"hidden": 2, "layers": 3, "heads": 1, "intermediate": 4, "vocabulary": 9, "length": 5, "batch_size": 7}


@pytest.mark.parametrize(
    ("card", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA L40", None),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", None),
        ("x86_64", None),
    ],
)
def test_find_peak_knows_the_variants_of_a_card(card: str, tflops: float | None) -> None:
    assert find_peak(card) == (tflops and tflops * 1e12)


def test_flops_of_a_step_have_a_term_for_parameters_and_one_for_attention() -> None:
    assert flops_per_step(Size(**SIZE), num_parameters=11) == 6 * 11 * 35 + 12 * 3 * 2 * 5 * 35


def test_ratio_compares_only_rounds_in_which_both_arms_ran() -> None:
    rounds = {
        "midway": {number: {"examples_per_second": speed} for number, speed in enumerate((2.0, 3.0, 4.0))},
        "bare": {number: {"examples_per_second": 2.0} for number in (0, 2)},
    }
    assert format_ratio(rounds, "midway", "bare") == "1.500 (1.000 to 2.000)"
    assert format_ratio(rounds, "midway, shard", "bare") == ""


def test_tables_have_the_share_of_the_peak_and_what_was_left_out() -> None:
    speeds = {"midway": 50.0, "bare": 100.0}
    records: list[dict[str, Any]] = [
        {"round": 0, "arm": arm, "examples_per_second": speed, "peak_memory_bytes": 3 * 2**20}
        for arm, speed in speeds.items()
    ]
    facts = {"num_parameters_without_embeddings": 10**9, "attention_kernels": ["aten::flash"]}
    measured = {
        "environment": {"device": "NVIDIA A100-SXM4-80GB", "versions": {"torch": "2.13"}},
        "sizes": {"22M": SIZE},
        "parts": {
            "22M,eager": [facts, *records],
            "22M,costs": [{"shard": None, "seconds": {"step": 0.1, "freeze": 0.05, "save": 0.2}}],
        },
        "left_out": ["22M,compiled: no time left"],
    }
    text = format_tables(measured)
    # 6 x 10^9 x 5 tokens (and a little for attention) x 100 examples per second, divided by 312 x 10^12
    assert "| 22M | no | bare | 100.0 | 100.0 | 0.500 (0.500 to 0.500) | 1.0% | 3 |" in text
    assert "| save | 200.0 (2.00) |" in text
    assert "- 22M,compiled: no time left" in text


@pytest.mark.slow  # two to five minutes
def test_script_measures_everything_with_a_tiny_model_on_the_cpu(launch: Launch, tmp_path: Path) -> None:
    output = tmp_path / "measured.json"
    printed = launch(["--device", "cpu", "--tiny", "--output", output], script="benchmarks/gpu.py").stdout
    measured = json.loads(output.read_text())
    assert measured["left_out"] == []
    for kind in ("eager", "compiled"):
        arms = {record["arm"] for record in measured["parts"][f"tiny,{kind}"] if "arm" in record}
        assert arms == set(ARMS)
    costs = [record for record in measured["parts"]["tiny,costs"] if "seconds" in record]
    assert [record["shard"] for record in costs] == [None, "fsdp2"]
    assert all(record["seconds"].keys() >= {"step", "freeze", "replace_head", "save"} for record in costs)
    tables = output.with_suffix(".md").read_text()
    assert tables.strip() in printed
    assert "The share of the peak is left out" in tables
