"""Apply edits to tiny models of all families in tests, without a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from research.data.batches.collate import Collator
from research.edits.base import parse_request
from research.edits.rehearsal import Rehearsal
from research.learning.objectives import OBJECTIVES
from research.learning.optimizer import apply_schedule, choose_optimizer, create_optimizer
from research.learning.schedules import create_schedule
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_tokenizer
from research.model.families import model_blocks
from research.settings.config import Choice, RunConfig
from research.settings.options import create
from research.settings.times import Clock
from research.tasks.single_label import SingleLabel
from tests.research.model.tiny_encoders import tiny_batch, tiny_model

StartRehearsal = Callable[..., Rehearsal]


def edit(run: Rehearsal, **edits: Any) -> None:
    """Apply edits written as in a timeline."""
    run.apply([parse_request(name, value, "the test") for name, value in edits.items()])


def compute_logits(model: EncoderWithHead) -> Tensor:
    """Return the logits of a model for a few rows, in evaluation mode."""
    with torch.no_grad():
        return model.eval()(**tiny_batch()).logits


def check_save_and_load(run: Rehearsal, folder: Path) -> None:
    """Save the model, load it again, and check that its logits are bit-identical."""
    model = run.encoder_with_head
    model.save_pretrained(folder)
    assert torch.equal(compute_logits(EncoderWithHead.from_pretrained(folder)), compute_logits(model))


@pytest.fixture
def start_rehearsal(tiny_encoder: Path) -> StartRehearsal:
    """Return a function that starts a rehearsal with a tiny model of a family.

    The encoder has two layers, and the task three labels. `settings` are those of the run. Unlike in the rehearsal of a
    real run, the parameters have values.
    """
    tokenizer = load_tokenizer(str(tiny_encoder))

    def start(family: str, head: str = "linear", settings: dict[str, Any] | None = None, **options: Any) -> Rehearsal:
        model = tiny_model(family, head, **options)
        config = RunConfig(**{"max_length": 32, **(settings or {})})
        model.config.max_input_length = config.max_length
        task = SingleLabel(tuple(model.label_names))
        clock = Clock(steps_per_epoch=10, total_steps=10, batch_size=8)
        schedule = create_schedule(config, clock)
        kind = choose_optimizer(config)
        optimizer = create_optimizer(model_blocks(model.encoder, model.head), config, kind)
        apply_schedule(optimizer, schedule)
        collator = Collator(tokenizer, task, max_length=32, truncation="head", pair=False)
        objective = create(OBJECTIVES, Choice("cross_entropy"), task)
        return Rehearsal(config, task, objective, collator, clock, schedule, model, optimizer, kind, tokenizer)

    return start
