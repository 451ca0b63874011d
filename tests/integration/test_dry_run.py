"""--dry_run shows the learning rates and trainable parameters of every step of the actual run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from research import RunConfig
from research.runner.dry_run import plan_and_rehearse
from tests.conftest import Launch

TIMELINE = [
    {"at": "20%", "unfreeze": "encoder.layer[-1]", "scale_lr": {"factor": 0.5, "modules": "head"}},
    {"every": "4st", "scale_lr": {"factor": 0.9, "modules": "encoder"}},
    {"at": "0.5ep", "replace_head": {"name": "lstm", "lstm_size": 8}},
    {"at": "1ep", "add_lora": {"r": 2}},
    {"at": "80%", "merge_lora": True},
    {"at": "85%", "drop_layers": "encoder.layer[0]"},
]
SCHEDULE_PER_EPOCH = {"schedule": "linear", "schedule_interval": "epoch"}


@pytest.fixture
def settings(tiny_encoder: Path, tiny_reviews: Path) -> dict[str, object]:
    return {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "batch_size": 8,
        "epochs": 3,
        "max_length": 32,
        "freeze": ["encoder"],
        "timeline": TIMELINE,
        "log_every": 1,
        "mixed_precision": "no",
        "report": False,
    }


@pytest.mark.parametrize(
    ("num_processes", "micro_batch_size", "schedule"),
    [(1, 8, {}), (1, 2, {}), (2, 4, {}), (2, 1, {}), (1, 8, SCHEDULE_PER_EPOCH), (2, 4, SCHEDULE_PER_EPOCH)],
)
def test_plan_matches_the_learning_rates_and_edits_of_the_run(
    launch: Launch,
    settings: dict[str, Any],
    tmp_path: Path,
    cache_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_processes: int,
    micro_batch_size: int,
    schedule: dict[str, str],
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    settings = {**settings, **schedule, "micro_batch_size": micro_batch_size}
    plan = plan_and_rehearse(RunConfig(**settings))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    launch(["--recipe", recipe, "--output_dir", tmp_path / "run"], num_processes=num_processes)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == len(plan.steps) == 18
    for line, step in zip(lines, plan.steps, strict=True):
        rates = {name.split("/")[1]: rate for name, rate in line.items() if name.startswith("learning_rate/")}
        assert (line["step"], line["trainable_parameters"]) == (step.step, step.trainable_parameters)
        assert rates == step.learning_rates
    journal = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_text().splitlines()]
    applied_edits = [(record["step"], record["name"], record["trainable_parameters"]) for record in journal]
    assert applied_edits == [(record.step, record.name, record.trainable_parameters) for record in plan.edits]


def test_dry_run_prints_the_plan_and_writes_only_timeline_png(
    launch: Launch, settings: dict[str, object], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    conditional = {"when": "above(validation/accuracy, 0.9)", "set_dropout": 0.3}
    recipe.write_text(
        yaml.safe_dump({**settings, "timeline": [*TIMELINE, conditional]}, sort_keys=False), encoding="utf-8"
    )
    folder = tmp_path / "empty"
    folder.mkdir()
    done = launch(["--recipe", recipe, "--dry_run"], cwd=folder)
    assert [path.name for path in folder.iterdir()] == ["timeline.png"]
    assert (folder / "timeline.png").read_bytes().startswith(b"\x89PNG")
    printed = re.sub(r"\s+", " ", done.stdout)
    for text in (
        "18 steps of 8 examples",
        "after step 4 (epoch 0.67): unfreeze(modules='encoder.layer[-1]')",
        "when above(validation/accuracy, 0.9): set_dropout(p=0.3, modules='all') (timeline entry 7)",
        "frozen",
    ):
        assert text in printed


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        # Refused before heavy libraries are imported.
        ("{at: 10%, unfreze: encoder}", "timeline entry 1: .*'unfreze'.*'unfreeze'"),
        # Refused once the encoder is known, which accepts at most 64 tokens.
        ("{at: 10%, set_max_length: 65}", "65.* 64"),
    ],
)
def test_invalid_timeline_is_refused_in_one_line(
    launch: Launch, settings: dict[str, object], tmp_path: Path, entry: str, message: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**settings, "timeline": [], "freeze": []}, sort_keys=False), encoding="utf-8")
    done = launch(["--recipe", recipe, "--timeline", entry, "--output_dir", tmp_path / "run"], check=False)
    assert done.returncode != 0
    *_, last = done.stderr.strip().splitlines()
    assert re.match(f"error: .*{message}", last)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
