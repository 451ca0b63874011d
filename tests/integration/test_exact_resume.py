"""Every hook, edit, optimizer, schedule and adapter resumes with the same bits as a run without interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from research import Hook, RunConfig, run_experiment
from research.edits.base import EDITS
from research.learning.optimizers.base import OPTIMIZERS
from research.learning.schedules import SCHEDULES
from research.training.api import Run
from research.training.hook import HOOKS
from tests.builders.digests import DigestRecorder
from tests.builders.run_files import metrics_lines_of, without_speed
from tests.builders.tiny_decoder import save_tiny_decoder
from tests.shipped import shipped_names

HOOK_CASES: dict[str, dict[str, Any]] = {
    "early_stopping": {"hook": [{"name": "early_stopping", "patience": 9}]},
    "ema": {"hook": ["ema"], "best_metric": "loss"},
    "fgm": {"hook": ["fgm"]},
    "gradual_unfreezing": {"hook": [{"name": "gradual_unfreezing", "over": "60%"}]},
    "length_warmup": {"hook": [{"name": "length_warmup", "start": 8, "over": "60%"}]},
    "loss_spike_guard": {"hook": [{"name": "loss_spike_guard", "window": 2, "threshold": 0.01, "max_skips": 9}]},
    "swa": {"hook": [{"name": "swa", "start": "2st", "every": "2st"}], "best_metric": "loss"},
}
EDIT_CASES: dict[str, list[dict[str, Any]]] = {
    "freeze": [{"at": "4st", "freeze": "encoder"}],
    "unfreeze": [{"at": "0%", "freeze": "encoder"}, {"at": "4st", "unfreeze": "encoder.layer[-1:]"}],
    "set_dropout": [{"at": "4st", "set_dropout": 0.25}],
    "set_lr": [{"at": "4st", "set_lr": {"lr": 0.003, "modules": "head"}}],
    "scale_lr": [{"at": "4st", "scale_lr": 0.5}],
    "set_weight_decay": [{"at": "4st", "set_weight_decay": {"weight_decay": 0.3, "modules": "encoder"}}],
    "replace_head": [{"at": "4st", "replace_head": {"name": "lstm", "lstm_size": 8}}],
    "reinitialize": [{"at": "4st", "reinitialize": "encoder.layer[-1]"}],
    "drop_layers": [{"at": "4st", "drop_layers": "encoder.layer[0]"}],
    "set_objective": [{"at": "4st", "set_objective": {"name": "focal", "gamma": 1.0}}],
    "set_optimizer": [{"at": "4st", "set_optimizer": {"optimizer": {"name": "sgd", "momentum": 0.5}, "lr": 0.01}}],
    "set_max_length": [{"at": "4st", "set_max_length": 12}],
    "set_bidirectional": [{"at": "4st", "set_bidirectional": True}],
    "add_lora": [{"at": "4st", "add_lora": {"r": 2, "dropout": 0.1}}],
    "add_dora": [{"at": "4st", "add_dora": {"r": 2, "lora_dropout": 0.1}}],
    "add_rslora": [{"at": "4st", "add_rslora": {"r": 2}}],
    "add_ia3": [{"at": "4st", "add_ia3": {"feedforward_modules": "*.output.dense"}}],
    "add_oft": [{"at": "4st", "add_oft": {"oft_block_size": 8, "module_dropout": 0.1}}],
    "add_prompt_tuning": [{"at": "4st", "add_prompt_tuning": {"num_virtual_tokens": 3}}],
    "add_vera": [{"at": "4st", "add_vera": {"r": 4, "vera_dropout": 0.1}}],
    "merge_adapters": [{"at": "1st", "add_dora": {"r": 2}}, {"at": "4st", "merge_adapters": True}],
    "merge_lora": [{"at": "1st", "add_lora": {"r": 2}}, {"at": "4st", "merge_lora": True}],
}
EDITS_OF_EVERY_KIND: list[dict[str, Any]] = [
    {"at": "0%", "freeze": "encoder"},
    {"at": "1st", "unfreeze": "encoder.layer", "replace_head": {"name": "mlp", "mlp_size": 8}},
    {"at": "2st", "add_lora": {"r": 2}},
    {"at": "4st", "merge_lora": True, "scale_lr": 0.5, "set_weight_decay": 0.1},
    {"at": "5st", "drop_layers": "encoder.layer[0]", "reinitialize": "head"},
]
CASES = {
    **{f"hook {name}": settings for name, settings in HOOK_CASES.items()},
    **{f"edit {name}": {"timeline": timeline} for name, timeline in EDIT_CASES.items()},
    **{f"optimizer {name}": {"optimizer": name, "schedule": "constant"} for name in OPTIMIZERS},
    **{
        f"edits with {name}": {"optimizer": name, "schedule": "constant", "timeline": EDITS_OF_EVERY_KIND}
        for name in OPTIMIZERS
    },
    "from averaged weights": {
        "optimizer": "schedule_free_adamw",
        "schedule": "constant",
        "timeline": [{"at": "4st", "set_optimizer": "adamw"}],
    },
    "to averaged weights": {
        "schedule": "constant",
        "timeline": [{"at": "4st", "set_optimizer": {"optimizer": "schedule_free_adamw", "lr": 0.001}}],
    },
    **{f"schedule {name}": {"schedule": name, "warmup": "2st"} for name in SCHEDULES},
    "schedule by epochs": {"schedule": "linear", "schedule_interval": "epoch", "warmup": "0"},
    "condition": {"timeline": [{"when": "below(validation/loss, 9)", "freeze": "encoder"}], "evaluate_every": "1st"},
    "adapters": {"peft": "lora"},
    **{
        f"adapters on {base_dtype} weights": {
            "peft": "lora",
            "base_dtype": base_dtype,
            "gradient_checkpointing": True,
            "timeline": [{"at": "4st", "set_dropout": 0.2}, {"at": "7st", "merge_lora": True}],
        }
        for base_dtype in ("bf16", "int8", "int4")
    },
    "micro-batches": {"micro_batch_size": 3},
    "sampling": {"sampling": "square_root"},
    "windows": {
        "long_texts": "windows",
        "max_length": 12,
        "stride": 8,
        "window_batch_size": 3,
        "attention_dropout": 0.1,
    },
    "windows chosen at random": {
        "long_texts": "windows",
        "max_length": 8,
        "stride": 5,
        "train_windows": 2,
        "window_batch_size": 5,
        "micro_batch_size": 3,
    },
    "gradient checkpointing": {"gradient_checkpointing": True, "attention_dropout": 0.1},
}


def test_every_shipped_hook_and_edit_has_a_case() -> None:
    assert shipped_names(HOOKS) == sorted(HOOK_CASES)
    assert shipped_names(EDITS) == sorted(EDIT_CASES)


WITHOUT_SHARDING = (
    *("windows", "windows chosen at random"),
    *("adapters on bf16 weights", "adapters on int8 weights", "adapters on int4 weights"),
)
"""Cases that --shard refuses."""
SHARDED_IN_QUICK_TESTS = ("hook ema", "edits with adafactor", "edits with adamw")
"""Cases that `make test` runs with --shard; the other cases are slow tests."""


@pytest.mark.parametrize(
    ("case", "mixed_precision", "shard"),
    [
        *((case, "no", None) for case in CASES),
        *((case, "bf16", None) for case in CASES if case.startswith("hook")),
        *(pytest.param(case, "bf16", "fsdp2", marks=pytest.mark.sharding) for case in SHARDED_IN_QUICK_TESTS),
        *(
            pytest.param(case, "no", "fsdp2", marks=[pytest.mark.slow, pytest.mark.sharding])  # six minutes in all
            for case in CASES
            if case not in WITHOUT_SHARDING
        ),
    ],
)
def test_resumed_run_has_the_bits_of_an_uninterrupted_run(
    case: str,
    mixed_precision: str,
    shard: str | None,
    tiny_encoder: Path,
    tiny_reviews: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "head": {"name": "linear", "dropout": 0.1},
        "dropout": 0.1,
        "max_length": 32,
        "batch_size": 8,
        "max_steps": 8,  # an epoch has 6 steps
        "evaluate_every": "3st",
        "save_every": "1st",  # after every step
        "keep": 9,
        "log_every": 1,
        "log_with": [],
        "mixed_precision": mixed_precision,
        "shard": shard,
        "num_threads": 1,
        "report": False,
        **CASES[case],
    }
    if case == "edit set_bidirectional":
        settings |= {"encoder": str(save_tiny_decoder(tmp_path / "decoder")), "head": "mean", "dropout": None}
    expected = DigestRecorder()
    result = run_experiment(RunConfig(**settings, output_dir=str(tmp_path / "uninterrupted")), hooks=[expected])
    # Resume right before and right after the edit, or in the middle and at the end of an epoch.
    for step in (3, 4) if "timeline" in settings else (4, 6):
        checkpoint = tmp_path / "uninterrupted" / "checkpoints" / f"step-{step:08d}"
        digests, directory = DigestRecorder(), tmp_path / f"from-{step}"
        config = RunConfig(**settings, output_dir=str(directory), resume=str(checkpoint))
        resumed = run_experiment(config, hooks=[digests])
        assert list(digests.hashes_by_step) == [*range(step + 1, 9)]
        for later_step, hashes in digests.hashes_by_step.items():
            different = [
                name for name, value in expected.hashes_by_step[later_step].items() if hashes.get(name) != value
            ]
            assert not different, f"resumed after step {step}, after step {later_step}: {different}"
        assert resumed["weights_sha256"] == result["weights_sha256"]
        assert json.dumps(resumed["metrics"]) == json.dumps(result["metrics"])
        assert without_speed(metrics_lines_of(directory)) == without_speed(metrics_lines_of(tmp_path / "uninterrupted"))
        journals = [(run / "journal.jsonl").read_text() for run in (tmp_path / "uninterrupted", directory)]
        assert journals[0] == journals[1]
        tables = [
            pq.read_table(run / "predictions" / "test.parquet") for run in (tmp_path / "uninterrupted", directory)
        ]
        assert tables[0].equals(tables[1])


def test_resume_after_the_last_step_still_calls_on_epoch_end(
    tiny_encoder: Path, tiny_reviews: Path, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HalvesHead(Hook):
        def on_epoch_end(self, run: Run) -> None:
            with torch.no_grad():
                run.encoder_with_head.get_parameter("head.out.weight").mul_(0.5)
            run.log({"halved": run.clock.epoch})

    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "batch_size": 8,
        "max_length": 32,
        "save_every": "6st",
        "log_with": [],
        "mixed_precision": "no",
        "output_dir": str(tmp_path / "run"),
    }
    uninterrupted = run_experiment(RunConfig(**settings), hooks=[HalvesHead()])
    lines = without_speed(metrics_lines_of(tmp_path / "run"))
    assert lines[-1]["halved"] == 0
    (tmp_path / "run" / "result.json").unlink()
    resumed = run_experiment(RunConfig(**settings, resume="auto"), hooks=[HalvesHead()])
    assert resumed["weights_sha256"] == uninterrupted["weights_sha256"]
    assert without_speed(metrics_lines_of(tmp_path / "run")) == lines
