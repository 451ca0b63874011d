"""Tests of frozen_heads.py, which compares a study of heads with the Trainer and with a lower bound, the floor."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from frozen_heads import format_report
from tests.conftest import Launch


def test_report_estimates_the_time_of_heads_that_the_trainer_did_not_train() -> None:
    seconds = {
        "midway": {"all": 50.0},
        "floor": {"encoder": 10.0, "linear": 1.0, "lstm": 6.0},
        "trainer": {"linear": 101.0},
    }
    text = format_report([seconds], ["linear", "lstm"], num_seeds=2)
    assert "| linear | 101.0 | 1.0 |" in text
    assert "| lstm | 106.0 (estimated) | 6.0 |" in text  # 6 s for the head, and 100 s of overhead as for linear
    assert "Midway 50 s, Trainer 414 s" in text  # 2 x (101 s + 106 s)
    assert re.search(r"Midway 8\.3, .*floor 2\.08", text)  # the floor is 10 s + 2 x (1 s + 6 s)


@pytest.mark.slow  # half a minute
def test_script_compares_the_study_with_trainer_and_floor(
    tmp_path: Path, tiny_encoder: Path, tiny_reviews: Path, launch: Launch
) -> None:
    study = tmp_path / "heads.yaml"
    base = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "max_length": 16,
        "freeze": ["encoder"],
        "epochs": 2,
    }
    grid = {"head": ["mean", "scalar_mix"], "seed": [0, 1]}
    study.write_text(yaml.safe_dump({"base": base, "grid": grid}))
    folder = tmp_path / "measured"
    printed = launch([folder, "--study", study], script="benchmarks/frozen_heads.py").stdout
    seconds = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    floor_seconds = seconds["floor"]["encoder"] + 2 * (seconds["floor"]["mean"] + seconds["floor"]["scalar_mix"])
    (ratio,) = map(float, re.findall(r"Midway / floor (\d+\.\d+)", printed))
    assert ratio == pytest.approx(seconds["midway"]["all"] / floor_seconds, abs=0.006)  # two decimals are printed
    trainer_seconds = 2 * sum(seconds["trainer"].values())
    assert f"Trainer {trainer_seconds:.0f} s" in printed
    assert len(list((folder / "round-0/study/trials").glob("*/result.json"))) == 4
    differences = re.findall(r"\| (mean|scalar_mix) \| (\S+) \| (\d+) of 23 \|", printed)
    assert [head for head, _, _ in differences] == ["mean", "scalar_mix"]
    assert all(float(difference) < 1e-5 and num == "0" for _, difference, num in differences)
