"""A dry run shows the plan of the run, and rejects impossible plans."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import yaml

from research import RunConfig
from research.runner.dry_run import describe_dry_run, plan_and_rehearse, split_at_edits
from research.system.errors import is_user_facing
from research.system.terminal import Terminal


@pytest.fixture
def settings(tiny_settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run with 18 steps."""
    return tiny_settings | {
        "micro_batch_size": 3,
        "epochs": 3,
        "schedule": "constant",
        "warmup": "0",
        "layer_decay": 1.0,
        "lr": 0.5,
        "head_lr": 0.25,
    }


def dry_run_text(config: RunConfig) -> str:
    file = io.StringIO()
    Terminal(file=file, width=200).print(describe_dry_run(plan_and_rehearse(config)))
    return file.getvalue()


def test_split_at_edits_ends_a_range_at_each_edit(settings: dict[str, Any]) -> None:
    timeline: list[dict[str, Any]] = [
        {"at": "0%", "freeze": "encoder"},
        {"at": "6st", "unfreeze": "encoder"},
        {"at": "100%", "scale_lr": 2},
    ]
    dry_run = plan_and_rehearse(RunConfig(**settings, timeline=timeline))
    assert [(steps[0].step, steps[-1].step) for steps in split_at_edits(dry_run)] == [(1, 6), (7, 18)]
    assert [steps[0].trainable_blocks for steps in split_at_edits(dry_run)] == [
        ("head",),
        ("embeddings", "layer.0", "layer.1", "head"),
    ]
    edits = [(record.step, record.name) for record in dry_run.edits]
    assert edits == [(0, "freeze"), (6, "unfreeze"), (18, "scale_lr")]


def test_rate_table_merges_neighbouring_frozen_blocks(settings: dict[str, Any]) -> None:
    text = dry_run_text(RunConfig(**settings, timeline=[{"at": "6st", "freeze": "encoder"}]))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == ["1 - 6", "", "", "", "7 - 18", ""]
    # The last columns are the block, and its first, highest and last rate.
    assert [row[2:] for row in rows] == [
        *([block, "0.5", "0.5", "0.5"] for block in ("embeddings", "layer.0", "layer.1")),
        ["head", "0.25", "0.25", "0.25"],
        ["embeddings ... layer.1", "frozen", "", ""],
        ["head", "0.25", "0.25", "0.25"],
    ]
    assert "18 steps of 8 examples (6 per epoch): 1 process, with 3 micro-batches of up to 3 examples" in text
    assert "after step 6 (epoch 1.00): freeze(modules='encoder')" in text


def test_dry_run_lists_conditional_edits_hooks_and_a_schedule_that_follows_the_validation_loss(
    settings: dict[str, Any],
) -> None:
    conditional = {"when": "above(validation/accuracy, 0.9)", "set_dropout": 0.3}
    text = dry_run_text(RunConfig(**{**settings, "schedule": "plateau"}, timeline=[conditional], hook=["ema"]))
    # One line each for the conditional edit, the schedule and the hook.
    notes = [line for line in text.splitlines() if "above(" in line or "plateau" in line or "ema" in line]
    assert ["set_dropout(p=0.3, modules='all')" in note for note in notes] == [True, False, False]
    assert ["'plateau'" in note for note in notes] == [False, True, False]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{at: 10%, unfreze: encoder}", r"timeline entry 1: .*'unfreze'.*'unfreeze'"),
        ("{unfreeze: encoder}", r"timeline entry 1: .*at, every, when, .*none"),
        ("{at: 10%}", r"timeline entry 1: .*edit"),
        ("{at: soon, freeze: encoder}", r"timeline entry 1: .*'soon'"),
        ("{at: 99st, freeze: encoder}", r"timeline entry 1: 99st .*\b18\b"),
        ("{every: 20st, scale_lr: 0.5}", r"timeline entry 1: every 20st .*\b18\b"),
        ("{at: 10%, freeze: encodr}", r"'encodr'.*'encoder'"),
        ("{at: 10%, freeze: 'encoder.layer[5]'}", r"encoder\.layer\[5\].* no parameter"),
        ("{at: 10%, freeze: all}", r"step 2 nothing .*frozen"),  # 10% of 18 steps are 2 steps
        ("{at: 10%, scale_lr: {factor: 0.5, modules: 'name:*bias'}}", r"name:\*bias.* part of"),
        ("{at: 10%, replace_head: lsmt}", r"'lsmt'.*'lstm'"),
        ("{at: 10%, merge_lora: true}", r"timeline entry 1.*no adapters"),
        ("{at: 10%, set_max_length: 65}", r"\b64\b.*\b65\b"),  # 64 is the encoder's maximum
        ("{at: 10%, set_dropout: {p: often}}", r"'set_dropout'.*'often'"),
        ("{when: 'plateau(validation/los, 2)', scale_lr: 0.5}", r"'los'.*'loss'"),
        ("{when: sometimes, scale_lr: 0.5}", r"'sometimes'"),
    ],
)
def test_dry_run_rejects_impossible_timelines(settings: dict[str, Any], entry: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        plan_and_rehearse(RunConfig(**settings, timeline=[yaml.safe_load(entry)]))
    assert is_user_facing(caught.value)


WINDOWS: dict[str, Any] = {"long_texts": "windows", "max_length": 10, "stride": 6}


def test_dry_run_shows_the_number_of_windows(settings: dict[str, Any]) -> None:
    config = RunConfig(**{**settings, **WINDOWS})
    counts = plan_and_rehearse(config).windows
    assert counts is not None
    assert 1 <= counts.min() < counts.max() <= 16
    assert f"median {np.median(counts):g}, maximum {counts.max()} (of 47 training texts)" in dry_run_text(config)
    assert "windows" not in dry_run_text(RunConfig(**settings))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"timeline": [{"at": "1st", "set_max_length": 12}]}, "--long_texts windows.*--long_texts truncate"),
        (
            {"max_length": 512, "window": 1000, "freeze": ["encoder"], "gradient_checkpointing": True},
            "window of .*1000",
        ),
        ({"stride": 9}, "stride of at most 8.*got 9"),
    ],
)
def test_dry_run_rejects_windows_that_do_not_fit_the_encoder_or_an_edit(
    settings: dict[str, Any], changed: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        plan_and_rehearse(RunConfig(**{**settings, **WINDOWS, **changed}))
    assert is_user_facing(caught.value)
