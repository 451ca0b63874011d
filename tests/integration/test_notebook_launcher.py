"""Training on two processes with accelerate's notebook_launcher, from a process that has already trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import Launch
from tests.limits import HANG_LIMIT

PROGRAM = """
import json
import sys

from accelerate import notebook_launcher

from heads import Head, register_head
from heads.masking import masked_mean
from research import RunConfig, run_experiment
from torch import nn

settings = json.loads(sys.argv[1])


@register_head("mine")
class Mine(Head):
    def __init__(self, encoder, num_labels):
        super().__init__()
        self.layer = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states, attention_mask):
        return self.layer(masked_mean(hidden_states, attention_mask))


def train(**changed):
    result = run_experiment(RunConfig(**settings | changed))
    with open(f"{changed['name']}.jsonl", "a") as file:
        file.write(json.dumps(result["weights_sha256"]) + "\\n")


def train_on_two():
    train(name="forked")
    train(name="with-own-head", head="mine")


train(name="before")
notebook_launcher(train_on_two, num_processes=2, rdzv_backend="c10d", rdzv_endpoint="localhost:0")
train(name="after")
"""


def hashes(path: Path) -> list[str]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_notebook_launcher_trains_as_accelerate_launch_does(
    tmp_path: Path, tiny_encoder: Path, tiny_reviews: Path, launch: Launch, user_environment: dict[str, str]
) -> None:
    settings: dict[str, Any] = {
        "encoder": str(tiny_encoder),
        "data": str(tiny_reviews),
        "max_length": 32,
        "batch_size": 8,
        "max_steps": 3,
        "mixed_precision": "no",
        "num_threads": 2,  # the processes are forked from one that has computed with several threads
        "log_with": [],
        "report": False,
    }
    # A new interpreter, because accelerate must find a process without any state.
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(settings)],
        cwd=tmp_path,
        env={**os.environ, **user_environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_LIMIT,
    )
    assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-6000:]
    flags = [
        f"--{name}={json.dumps(value) if isinstance(value, bool | list) else value}" for name, value in settings.items()
    ]
    launch([*flags, "--name=launched"], num_processes=2, cwd=tmp_path)
    expected = json.loads((tmp_path / "runs" / "launched" / "result.json").read_text())
    assert expected["world_size"] == 2
    assert hashes(tmp_path / "forked.jsonl") == [expected["weights_sha256"]] * 2
    own_head = json.loads((tmp_path / "runs" / "with-own-head" / "result.json").read_text())
    assert (own_head["status"], own_head["world_size"]) == ("finished", 2)
    assert hashes(tmp_path / "before.jsonl") == hashes(tmp_path / "after.jsonl")
